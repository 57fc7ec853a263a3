import json
import re

import pytest

from diffclip_geo.errors import WorkspaceError
from diffclip_geo.jsonfiles import replacing, save_json


def test_json_is_replaced_whole(tmp_path):
    path = tmp_path / "facts.json"
    save_json(path, {"a": 1})
    with pytest.raises(TypeError):
        save_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["facts.json"]


def test_a_file_that_cannot_be_written_is_told_and_the_old_one_stays(tmp_path):
    path = tmp_path / "weights"
    path.write_text("old")
    message = "weights: cannot be written (No space left on device); free space, or choose another"
    with pytest.raises(WorkspaceError, match=re.escape(message)), replacing(path) as temporary:
        temporary.write_text("new")
        raise OSError(28, "No space left on device")
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1
