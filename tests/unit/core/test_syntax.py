import ast

import pytest

from features.core.syntax import dump, used_names


def test_a_dump_is_the_same_text_on_every_version_of_python() -> None:
    # Python 3.12 ends some format specs with an empty text, and 3.14 spells characters that 3.11 escapes.
    text = 'f"{a!r:>{b}} {{c}} {d=} {e:%Y}" "\\U0001FAE8"'

    assert dump(ast.parse(text, mode="eval").body) == (
        "JoinedStr([FormattedValue(value=Name(id='a'), conversion=114, format_spec=JoinedStr([Constant(value='>'), "
        "FormattedValue(value=Name(id='b'), conversion=-1)])), Constant(value=' {c} d='), "
        "FormattedValue(value=Name(id='d'), conversion=114), Constant(value=' '), FormattedValue(value=Name(id='e'), "
        "conversion=-1, format_spec=JoinedStr([Constant(value='%Y')])), Constant(value='\\U0001fae8')])"
    )


def test_an_empty_text_and_a_cut_text_are_no_part_of_an_f_string() -> None:
    cut = ast.JoinedStr(values=[ast.Constant(value=v) for v in ("a", "", "b")])

    assert dump(cut) == "JoinedStr([Constant(value='ab')])"


@pytest.mark.parametrize(
    ("text", "dumped"),
    [
        ("def f(a: int = 1, *, b): return", "FunctionDef(name='f', args=arguments(args=[arg(arg='a', "
         "annotation=Name(id='int'))], kwonlyargs=[arg(arg='b')], kw_defaults=[None], defaults=[Constant(value=1)]), "
         "body=[Return()])"),
        ("match a:\n  case [1, *b] | {'c': d}: pass", "Match(subject=Name(id='a'), cases=[match_case(pattern=MatchOr("
         "patterns=[MatchSequence(patterns=[MatchValue(value=Constant(value=1)), MatchStar(name='b')]), MatchMapping("
         "keys=[Constant(value='c')], patterns=[MatchAs(name='d')])]), body=[Pass()])])"),
        ("async def f():\n  'said'\n  class C:\n    'said'\n    a: int\n    'said'", "AsyncFunctionDef(name='f', "
         "args=arguments(), body=[ClassDef(name='C', body=[AnnAssign(target=Name(id='a'), annotation=Name(id='int'), "
         "simple=1)])])"),
        ("@a\n@b(1)\ndef f(): pass", "FunctionDef(name='f', args=arguments(), body=[Pass()], decorator_list=[Name("
         "id='a'), Call(func=Name(id='b'), args=[Constant(value=1)])])"),
        ("u'a'[...] = b'\\xff'", "Assign(targets=[Subscript(value=Constant(value='a'), slice=Constant(value=Ellipsis)"
         ")], value=Constant(value=b'\\xff'))"),
    ],
)  # fmt: skip
def test_a_dump_holds_what_has_a_meaning(text: str, dumped: str) -> None:
    assert dump(ast.parse(text).body[0]) == dumped


def test_used_names_carry_the_attributes_that_are_asked_of_them() -> None:
    node = ast.parse("a.b.c(d)[e.f].g + h().i(a)")

    assert used_names(node) == [("a",), ("a", "b", "c"), ("d",), ("e", "f"), ("h",)]
