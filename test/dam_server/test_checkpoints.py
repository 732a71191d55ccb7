"""Checkpoints that the DAM server cannot load."""

import hashlib
import json
import subprocess

import pytest

from support.dam_server_process import Server, environment, run_to_the_end, urls

pytestmark = pytest.mark.dam


def cannot_load(checkpoint, *words, environ=None, **options):
    status, said = run_to_the_end(checkpoint, environ=environ, **options)
    assert status == 3, said
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if all(word in line for word in words)]
    assert len(lines) == 1, said


@pytest.fixture
def copy(checkpoint, tmp_path):
    """A copy of the checkpoint with a lock as `deep_perception models fetch` writes it."""
    path = tmp_path / "DAM"
    subprocess.run(["cp", "-r", str(checkpoint), str(path)], check=True)
    files = {
        file.relative_to(path).as_posix(): {
            "size": file.stat().st_size,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for file in path.rglob("*")
        if file.is_file()
    }
    (path / "models.lock.json").write_text(json.dumps({"model": "dam", "files": files}))
    return path


def test_a_checkpoint_with_its_lock_is_loaded(copy, tmp_path):
    server = Server(copy, tmp_path / "log")
    try:
        assert server.wait_ready().describe(urls(1)[0])
        assert "models.lock.json" not in server.log.read_text()
    finally:
        server.kill()


def test_code_that_was_changed_is_not_executed(copy, tmp_path):
    code = copy / "llava_llama.py"
    old = code.read_bytes()
    # The size stays the same.
    code.write_bytes(f"open({str(tmp_path / 'executed')!r}, 'w')\n#".encode().ljust(len(old), b"#"))
    cannot_load(copy, "llava_llama.py", "not as downloaded", "models fetch dam")
    assert not (tmp_path / "executed").exists()


def test_code_that_is_not_in_the_lock_is_not_executed(copy):
    (copy / "more.py").write_text("x = 1\n")
    cannot_load(copy, "more.py", "does not name")


def test_files_that_are_cut_or_missing_are_named(copy):
    weights = copy / "llm" / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1])
    cannot_load(copy, "model.safetensors", str(len(data)), "models fetch dam")
    weights.unlink()
    cannot_load(copy, "model.safetensors is missing")
    (copy / "models.lock.json").write_text("{")
    cannot_load(copy, "models.lock.json is not readable")
    (copy / "models.lock.json").write_text('{"files": {"../x": {"size": 1, "sha256": ""}}}')
    cannot_load(copy, "outside of the checkpoint")


def test_broken_weights_without_a_lock_are_one_line(copy):
    (copy / "models.lock.json").unlink()
    weights = copy / "llm" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    cannot_load(copy, "cannot be loaded", str(copy))


def test_out_of_memory_while_loading_says_what_to_do(copy):
    (copy / "models.lock.json").unlink()
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "load_error": "memory"}))
    cannot_load(copy, "memory is too small", "8bit or 4bit")


def test_without_a_gpu_cuda_is_refused(checkpoint):
    cannot_load(
        checkpoint,
        "no CUDA GPU",
        "describer.dam.device",
        device="cuda",
        environ=environment(CUDA_VISIBLE_DEVICES=""),
    )
    cannot_load(checkpoint, "8bit needs device cuda", precision="8bit")


@pytest.mark.parametrize("version", ["4.41.1", "4.51.0", "5.23.0"])
def test_another_transformers_is_refused(checkpoint, tmp_path, version):
    info = tmp_path / f"transformers-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: transformers\nVersion: {version}")
    environ = environment(PYTHONPATH=str(tmp_path))
    cannot_load(checkpoint, version, "4.41.2 to 4.50.3", "setup-dam", environ=environ)
