"""The code that stands in the documents."""

import re

from tests.conftest import ROOT


def python_blocks(document, heading):
    """Returns the Python under the `heading` of a Markdown `document`."""
    text = (ROOT / document).read_text(encoding="utf-8")
    section = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)[1]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)
