"""docs/documents.md names a test for each sentence: they exist, where it says."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "documents.md").read_text()


def test_each_test_that_it_names_exists():
    """In the file that its line names, or its chapter."""
    missing = []
    for chapter in re.split(r"^## ", PAGE, flags=re.M)[1:]:
        title, _, body = chapter.partition("\n")
        usual = re.findall(r"^Tests in `(tests/[\w/]+\.py)`", body, re.M)
        assert usual, title
        for line in body.splitlines():
            files = re.findall(r"`(tests/[\w/]+\.(?:py|mjs))`", line)
            missing += [file for file in files if not (ROOT / file).exists()]
            texts = "".join((ROOT / file).read_text() for file in [*usual, *files] if (ROOT / file).exists())
            missing += [name for name in re.findall(r"`(test_\w+)`", line) if f"def {name}(" not in texts]
    assert missing == []


def test_each_page_that_it_links_to_exists():
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
