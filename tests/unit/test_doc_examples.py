"""What `tests/support/doc_examples.py` takes for an example, and that it tells what a page promises from what comes."""

import pytest

from tests.support.doc_examples import Command, File, examples, prints, stories

PAGE = """# A page

## First

Words, `here`, and then `/etc/audiohook/keys.toml`:

```toml
a = 1
```

And some that is no file.

```toml
b = 2
```

```console fails
$ one
said
$ two <<'END'
> text
> END
```

## Without any

## Second

```console as group:audio
$ audiohookd --config FILE &
$ three
```

## Third

```console
four
five
```
"""


def test_files_and_commands_are_found_in_order() -> None:
    assert examples(PAGE) == [
        File("/etc/audiohook/keys.toml", "a = 1\n"),
        Command("one", "said\n"),
        Command("two <<'END'\ntext\nEND", "", fails=True),
        Command("audiohookd --config FILE &", "", group="audio"),
        Command("three", "", group="audio"),
        Command("four", None),
        Command("five", None),
    ]


def test_a_story_begins_where_a_daemon_is_started() -> None:
    told = stories(PAGE)
    assert list(told) == ["First", "Second"]
    assert told["First"] + told["Second"] == examples(PAGE)


@pytest.mark.parametrize(
    ("expected", "out", "same"),
    [
        ("", "", True),
        ("", "something\n", False),
        ("one … three\n", "one two three\n", True),
        ("one … three\n", "one two four\n", False),
        ("one … three\n", "one two\nand three\n", False),
        ("one\n…\nthree\n", "one\nthree\n", True),
        ("one\n…\nthree\n", "one\n2\n2\nthree\n", True),
        ("one\n…\nthree\n", "one\n2\n", False),
        ("a.b (c)\n", "a.b (c)\n", True),
        ("a.b (c)\n", "a-b (c)\n", False),
        ("one\n", "one\nTraceback\n", False),
    ],
)
def test_what_comes_is_held_to_what_the_page_says(expected: str, out: str, same: bool) -> None:
    assert prints(expected, out) is same
