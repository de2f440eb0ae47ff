"""Models and tasks about lists, for the cases of ``each``."""

from pydantic import BaseModel

from cloaca import task


class Doc(BaseModel):
    title: str
    author: str


class Page(BaseModel):
    url: str
    number: int = 0


class Pages(BaseModel):
    pages: list[Page]


class Request(BaseModel):
    url: str
    title: str


class Text(BaseModel):
    text: str


class Texts(BaseModel):
    texts: list[Text]


class Book(BaseModel):
    book: str


class Author(BaseModel):
    author: str


@task
def split(doc: Doc) -> Pages:
    return Pages(pages=[Page(url=f"{doc.title}/{number}") for number in range(3)])


@task
async def fetch(request: Request) -> Text:
    return Text(text=f"{request.title} {request.url}")


@task
def trim(text: Text) -> Text:
    return Text(text=text.text.strip())


@task
def look(text: Text) -> None: ...


@task
def rename(page: Page) -> Author:
    return Author(author=page.url)


@task
def bind(texts: Texts) -> Book:
    return Book(book=" ".join(text.text for text in texts.texts))
