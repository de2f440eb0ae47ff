"""Models and ends of fan-outs: a document becomes pages, each becomes a text, the texts become a book."""

from __future__ import annotations

from pydantic import BaseModel

from cloaca import task


class Doc(BaseModel):
    count: int


class Page(BaseModel):
    number: int


class Pages(BaseModel):
    pages: list[Page]


class Text(BaseModel):
    text: str


class Texts(BaseModel):
    texts: list[Text]


class Book(BaseModel):
    book: str


class Refused(BaseModel):
    why: str


@task
def split(doc: Doc) -> Pages:
    return Pages(pages=[Page(number=number) for number in range(doc.count)])


@task
def bind(texts: Texts) -> Book:
    return Book(book=" ".join(text.text for text in texts.texts))
