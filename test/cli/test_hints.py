"""Errors of the command line say what was probably meant."""

import pytest

from deep_perception.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["analyse", "p.png"], "did you mean analyze?"),
        (["reply", "bag"], "did you mean replay?"),
        (["doctr"], "did you mean doctor?"),
        (["photo.jpg"], "did you mean deep_perception analyze photo.jpg?"),
        (["pictures/"], "did you mean deep_perception analyze pictures/?"),
        (["drive.mcap"], "did you mean deep_perception replay drive.mcap?"),
        (["analyze", "p.png", "--describer", "chat"], "did you mean --describer.backend?"),
        (["analyze", "p.png", "--labels", "words"], "did you mean --output.labels?"),
        (["analyze", "p.png", "--jpeg-quality", "9"], "did you mean --output.jpeg_quality?"),
        (["analyze", "p.png", "--output.label=words"], "did you mean --output.labels?"),
        (["analyze", "p.png", "--points.grid_colums", "9"], "did you mean --points.grid_columns?"),
    ],
)
def test_a_slip(capsys, arguments, meant):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert meant in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["xyzzy"], ["analyze", "p.png", "--xyzzy-quux"]])
def test_no_guess_where_nothing_is_near(capsys, arguments):
    with pytest.raises(SystemExit):
        main(arguments)
    assert "did you mean" not in capsys.readouterr().err


def test_without_a_command_all_are_listed(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    for command in ("analyze", "replay", "doctor", "settings", "models", "dam-server"):
        assert command in said


@pytest.mark.parametrize(
    ("option", "name", "meant"),
    [
        ("describer.backend", "lmstudio", "chat"),
        ("describer.backend", "Ollama", "chat"),
        ("describer.backend", "attribute", "attributes"),
        ("segmenter.backend", "sam", "sam2"),
        ("segmenter.backend", "superpixel", "superpixels"),
    ],
)
def test_a_misspelt_backend_is_an_error_in_spite_of_its_fallback(capsys, option, name, meant):
    assert main(["analyze", "p.png", f"--{option}", name]) == 2
    assert f"did you mean {meant}?" in capsys.readouterr().err
