"""Everything that can happen, at once, to the real thing: see __main__."""


def test_no_answer_is_wrong_and_no_commit_is_lost_whatever_happens(chaos_run: tuple[int, str]) -> None:
    status, said = chaos_run
    assert status == 0, said
