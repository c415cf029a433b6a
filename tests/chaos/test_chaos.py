"""Everything that can happen, at once, to the real thing: see __main__."""

import subprocess


def test_no_answer_is_wrong_and_no_commit_is_lost_whatever_happens(chaos_run: subprocess.Popen[str]) -> None:
    said, _ = chaos_run.communicate(timeout=900)
    assert chaos_run.returncode == 0, said
