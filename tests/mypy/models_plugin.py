"""A mypy plugin for tests: it notes how ``cloaca.mypy.models`` reads the model that ``reveal_row`` is given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from mypy.checker import TypeChecker
from mypy.messages import format_type_bare
from mypy.plugin import CheckerPluginInterface, ClassDefContext, FunctionContext, Plugin, ReportConfigContext
from mypy.server.trigger import make_wildcard_trigger
from mypy.types import AnyType, CallableType, Instance, Type, TypeOfAny, get_proper_type

from cloaca.mypy.aliases import aliases_of
from cloaca.mypy.facts import remember
from cloaca.mypy.models import StaticModels, shown


class ModelsPlugin(Plugin):
    def get_customize_class_mro_hook(self, fullname: str) -> Callable[[ClassDefContext], None] | None:
        return remember

    def report_config_data(self, ctx: ReportConfigContext) -> str | None:
        return aliases_of(ctx.path)

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        return {"models_reveal.reveal_row": reveal, "models_reveal.write_row": write}.get(fullname)


def reveal(context: FunctionContext) -> Type:
    context.api.msg.note(json.dumps(describe(given_model(context), context)), context.context)
    return context.default_return_type


def write(context: FunctionContext) -> Type:
    """Say it in a file: whatever has a note is looked at anew by the daemon each time."""
    Path("told.json").write_text(json.dumps(describe(given_model(context), context)))
    return context.default_return_type


def given_model(context: FunctionContext) -> Instance:
    given = get_proper_type(context.arg_types[0][0])
    assert isinstance(given, CallableType), given
    model = get_proper_type(given.ret_type)
    assert isinstance(model, Instance), model
    if given.variables:
        # As mypy reads the bare name in an annotation.
        defaults = [v.default if v.has_default() else AnyType(TypeOfAny.from_omitted_generics) for v in given.variables]
        model = Instance(model.type, defaults)
    depend(model, context.api)
    return model


def depend(model: Instance, api: CheckerPluginInterface) -> None:
    """Have the daemon ask again when one of the classes changes."""
    assert isinstance(api, TypeChecker)
    for name in StaticModels().classes(model):
        api.tree.plugin_deps.setdefault(make_wildcard_trigger(name), set()).add(api.tscope.current_full_target())


def describe(model: Instance, context: FunctionContext) -> dict[str, object]:
    read = StaticModels()
    options = context.api.options
    return {
        "name": read.name(model),
        "is_model": read.is_model(model),
        "is_known": read.is_known(model),
        "fields": {
            name: [format_type_bare(get_type(field.type), options), shown(get_type(field.type)), field.required]
            for name, field in read.row(model).items()
        },
        "reducers": {name: field.reducer for name, field in read.row(model).items() if field.reducer is not None},
        "problems": [[problem.field, problem.message] for problem in read.problems(model)],
        "classes": sorted(read.classes(model)),
    }


def get_type(type_: object) -> Type:
    assert isinstance(type_, Type)
    return type_


def plugin(version: str) -> type[Plugin]:
    return ModelsPlugin
