"""A person compares blindly, nothing answered is ever lost, and the interval keeps its promise."""

import base64
import itertools
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from aurify import codec as codecs
from aurify.errors import UserError
from aurify.evaluate import human, human_page, preference
from aurify.evaluate.human import Answers, Key, again, read_answers, read_key, score, trials
from aurify.evaluate.human_terminal import harmless, interview
from aurify.evaluate.preference import Preference
from aurify.evaluate.samples import Samples

TEXT = codecs.load("text")()
NAMES = ("digits-flow", "museum")


def texts(word: str, n: int, labels: list[int] | None = None) -> Samples:
    natives = [f"{word} {i} <b>" for i in range(n)]
    return Samples(natives, None, torch.tensor(labels or [-1] * n), tuple(f"{word}/{i}.txt" for i in range(n)))


def pictures(n: int, seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    natives = [rng.integers(0, 256, (8, 8, 1), dtype=np.uint8) for _ in range(n)]
    return Samples(natives, None, torch.full((n,), -1), tuple(f"folder-{seed}/{i}.png" for i in range(n)))


def image_codec():
    kind = codecs.load("image")
    made = kind()
    made.fit(kind.examples(2, 0))
    return made


def set_of(trial: human.Trial) -> str:
    """Which set stands on the left: told by the made-up texts themselves, not by the key."""
    return trial.left.split()[0]


def test_every_pair_has_one_sample_of_each_set_and_no_sample_stands_twice():
    blind, key = trials(texts("a", 50), texts("b", 40), 40, 0)
    assert len(blind.trials) == len({t.id for t in blind.trials}) == len(key.places) == 40
    assert all({t.left[0], t.right[0]} == {"a", "b"} for t in blind.trials)
    assert len({side for t in blind.trials for side in (t.left, t.right)}) == 80


def test_the_key_tells_the_truth():
    blind, key = trials(texts("a", 50), texts("b", 50), 50, 3)
    for trial in blind.trials:
        place = key.places[trial.id]
        first = trial.left if place.first_is == "left" else trial.right
        assert first == f"{place.first.replace('/', ' ').removesuffix('.txt')} <b>" and first.startswith("a")


def test_samples_with_labels_are_paired_with_their_own_kind():
    labels = [i % 5 for i in range(60)]
    blind, key = trials(texts("a", 60, labels), texts("b", 60, labels[::-1]), 60, 1)
    at = {f"a/{i}.txt": label for i, label in enumerate(labels)}
    at |= {f"b/{i}.txt": label for i, label in enumerate(labels[::-1])}
    assert all(at[p.first] == at[p.second] for p in key.places.values()) and len(blind.trials) == 60
    with pytest.raises(UserError, match="ask for 1 to 2 with equal labels"):
        trials(texts("a", 3, [0, 0, 1]), texts("b", 3, [0, 1, 1]), 3, 1)


def test_too_many_pairs_are_refused_with_what_can_be_had():
    with pytest.raises(UserError, match="ask for 1 to 3"):
        trials(texts("a", 3), texts("b", 9), 4, 0)


def test_sides_and_order_are_even_and_follow_neither_the_seed_nor_the_place():
    """Over 200 comparisons with one seed: sides are a fair coin at every place, and no two places agree too often."""
    sides = []
    for i in range(200):
        blind, _ = trials(texts("a", 12), texts("b", 12), 12, 0, secret=f"{i:032x}")
        sides.append([set_of(t) == "a" for t in blind.trials])
    table = 2.0 * np.array(sides) - 1  # (200, 12) of -1, 1
    assert np.abs(table.mean(0)).max() < 4.5 / math.sqrt(200)
    agreement = table.T @ table / 200 - np.eye(12)
    assert np.abs(agreement).max() < 5 / math.sqrt(200)
    again_and_again = [trials(texts("a", 12), texts("b", 12), 12, 0)[0].trials for _ in range(20)]
    assert len({tuple(t.left for t in shown) for shown in again_and_again}) == 20


def test_the_same_secret_gives_the_same_trials_again():
    left, right = texts("a", 20), texts("b", 20)
    blind, key = trials(left, right, 15, 7, NAMES)
    assert again(left, right, key) == blind and key.secret not in json.dumps([t.id for t in blind.trials])
    with pytest.raises(UserError, match="not those that the key was made for"):
        again(texts("c", 20), right, key)
    others = Samples([text.upper() for text in left.natives], None, left.labels, left.names)
    with pytest.raises(UserError, match="not those that the key was made for"):  # of the same names
        again(others, right, key)


class Page(HTMLParser):
    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.tag = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tag = tag
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.setdefault(self.tag, []).append(data)


def test_the_page_holds_the_samples_in_order_and_nothing_that_tells_the_sides():
    blind, key = trials(pictures(30, 1), pictures(30, 2), 24, 5, NAMES)
    html = human_page.page(blind, image_codec())
    for secret in (key.secret, *NAMES, "folder-", "first_is", *(p.first for p in key.places.values())):
        assert secret not in html
    assert key.sealed in html
    parsed = Page(html)
    ids = [a["data-trial"] for tag, a in parsed.elements if tag == "section"]
    assert ids == [t.id for t in blind.trials]
    shown = [base64.b64decode(a["src"].partition(",")[2]) for tag, a in parsed.elements if tag == "img"]
    samples = [side for t in blind.trials for side in (t.left, t.right)]
    assert shown == [image_codec().preview([s]).data for s in samples]


def test_swapping_every_pair_changes_nothing_on_the_page_but_the_samples():
    """So the sides cannot be read from anything else: with equal samples both pages are equal byte for byte."""
    left, right = texts("a", 20), texts("b", 20)
    blind, key = trials(left, right, 20, 5, secret="5" * 32)
    flipped = human.Blind(tuple(human.Trial(t.id, t.right, t.left) for t in blind.trials), blind.sealed)
    pages = [human_page.page(b, TEXT) for b in (blind, flipped)]
    same = [re.sub("[ab] [0-9]+ &lt;b&gt;", "sample", p) for p in pages]
    assert pages[0] != pages[1] and same[0] == same[1]
    guesses = [first == ("left" if int(id, 16) % 2 else "right") for id, first in _firsts(key)]
    assert 2 <= sum(guesses) <= 18  # nor from the ids


def _firsts(key: Key) -> list[tuple[str, str]]:
    return [(id, place.first_is) for id, place in key.places.items()]


def test_the_page_asks_nobody_for_anything_and_runs_its_own_script_alone():
    blind, _ = trials(texts("<script>alert(1)</script>", 5), texts('"><img src=x onerror=alert(1)>', 5), 5, 0)
    parsed = Page(human_page.page(blind, TEXT, "<i>Which?</i>"))
    tags = [tag for tag, _ in parsed.elements]
    assert tags.count("script") == 1 and not {"img", "i", "b", "iframe", "form"} & set(tags)
    for tag, attributes in parsed.elements:
        for name, value in attributes.items():
            assert not name.startswith("on") and name != "style"
            assert name not in {"src", "href"} or value.startswith(("data:", "#")), tag
    (policy,) = [a["content"] for _, a in parsed.elements if a.get("http-equiv")]
    assert "default-src 'none'" in policy and "unsafe" not in policy and policy.count("sha256-") == 2
    assert not re.search(r"fetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(|innerHTML|eval", human_page.SCRIPT)


class Judge:
    """Types answers as a person does, with a true preference for samples whose text begins with `a`."""

    def __init__(self, p: float = 1.0, seed: int = 0, stop_after: int | None = None):
        self.rng, self.p, self.left = np.random.default_rng(seed), p, stop_after
        self.seen = ""
        self.shown: list[str] = []

    def show(self, text: str) -> None:
        self.seen = text
        self.shown.append(text)

    def ask(self, prompt: str) -> str:
        if self.left is not None:
            if self.left == 0:
                raise EOFError
            self.left -= 1
        a_left = self.seen.index("\na ") < self.seen.index("\nb ")
        wants_a = self.rng.random() < self.p
        return "l" if wants_a == a_left else "r"


def test_a_judge_who_always_prefers_one_set_is_read_as_such(tmp_path):
    blind, key = trials(texts("a", 20), texts("b", 20), 20, 0, NAMES)
    judge = Judge()
    found = score(interview(blind, tmp_path / "answers.json", TEXT, judge.ask, judge.show), key)
    assert (found.wins, found.losses, found.ties, found.rate, found.sets) == (20, 0, 0, 1.0, NAMES)
    assert found.told and found.needed == 0 and found.p_value == 2 * 0.5**20


def test_interrupted_and_resumed_answers_lose_nothing_and_ask_nothing_twice(tmp_path):
    blind, key = trials(texts("a", 12), texts("b", 12), 12, 0)
    path = tmp_path / "answers.json"
    asked = []
    for stop in (0, 1, 4, 2, None):
        before = read_answers(path).answers if path.exists() else {}
        judge = Judge(stop_after=stop)
        answers = interview(blind, path, TEXT, judge.ask, judge.show)
        if answers.answers:
            assert read_answers(path) == answers and before.items() <= answers.answers.items()
        asked += judge.shown[: len(answers.answers) - len(before)]
    assert len(asked) == len(set(asked)) == 12 and score(answers, key).wins == 12


def test_every_answer_is_on_the_disk_before_the_next_pair_is_shown(tmp_path):
    blind, _ = trials(texts("a", 6), texts("b", 6), 6, 0)
    path, kept = tmp_path / "answers.json", []

    def show(text: str) -> None:
        kept.append(len(read_answers(path).answers) if path.exists() else 0)

    interview(blind, path, TEXT, lambda prompt: "c", show)
    assert kept == list(range(6)) and set(read_answers(path).answers.values()) == {"cannot tell"}


def test_what_is_typed_wrongly_is_asked_again_and_quit_stops(tmp_path):
    blind, _ = trials(texts("a", 3), texts("b", 3), 3, 0)
    typed = iter(["", "x", " LEFT ", "1", "quit"])
    answers = interview(blind, tmp_path / "a.json", TEXT, lambda prompt: next(typed), lambda text: None)
    assert list(answers.answers.values()) == ["left", "left"]


def test_answers_of_another_comparison_are_refused(tmp_path):
    (one, key), (other, _) = (trials(texts("a", 3), texts("b", 3), 3, seed) for seed in (0, 0))
    path = tmp_path / "answers.json"
    answers = interview(one, path, TEXT, lambda prompt: "l", lambda text: None)
    with pytest.raises(UserError, match="another comparison"):
        interview(other, path, TEXT, lambda prompt: "l", lambda text: None)
    with pytest.raises(UserError, match="another comparison"):
        score(Answers(key=other.sealed, answers=answers.answers), key)
    with pytest.raises(UserError, match="another comparison"):
        score(Answers(key=key.sealed, answers={"0" * 12: "left"}), key)


def test_a_damaged_file_of_answers_is_a_mistake_of_the_user(tmp_path):
    blind, key = trials(texts("a", 3), texts("b", 3), 3, 0)
    path = tmp_path / "answers.json"
    interview(blind, path, TEXT, lambda prompt: "r", lambda text: None)
    good = path.read_text()
    id = blind.trials[0].id
    damaged = [
        good[:40], "", "[]", "null", "NaN", good.replace("right", "both", 1), good.replace(id, id[:-1]),
        good.replace(id, "g" * 12), good.replace('"key"', '"kee"'), good.replace("{", '{"more": 1,', 1),
        good.replace('"aurify answers"', '"aurify key"'), good.replace(key.sealed, key.sealed[:-1]),
        good.replace(f'"{id}": "right"', f'"{id}": "right", "{id}": "left"'), good.replace('"right"', "1", 1),
        "[" * 100_000,
    ]  # fmt: skip
    for text in damaged:
        assert text != good
        path.write_text(text)
        with pytest.raises(UserError, match=r"answers\.json .*; download it again from the page, or judge anew\."):
            read_answers(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError):
        read_answers(path)
    with pytest.raises(UserError):
        read_answers(tmp_path / "missing.json")


def test_the_key_is_kept_in_a_file_and_one_changed_character_of_it_is_noticed(tmp_path):
    blind, key = trials(texts("a", 4), texts("b", 4), 4, 0, NAMES)
    path = tmp_path / "key.json"
    path.write_text(json.dumps(key.to_json()))
    assert read_key(path) == key and read_key(path).sealed == blind.sealed
    changed = path.read_text().replace('"left"', '"right"', 1)
    if changed == path.read_text():
        changed = path.read_text().replace('"right"', '"left"', 1)
    path.write_text(changed)
    with pytest.raises(UserError, match="another comparison"):
        score(Answers(key=blind.sealed, answers={}), read_key(path))
    path.write_text("{}")
    with pytest.raises(UserError, match="does not hold a key"):
        read_key(path)


def test_texts_cannot_steer_the_terminal_and_pictures_stand_side_by_side(tmp_path):
    assert harmless("a\x1b[2Jb\n\u202ec\x9b\rd") == "a [2Jb\n c  d"
    blind, _ = trials(pictures(1, 1), pictures(1, 2), 1, 0)
    shown: list[str] = []
    interview(blind, tmp_path / "a.json", image_codec(), lambda prompt: "q", shown.append)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown[0]).splitlines()
    assert lines[0] == "1 of 1" and re.fullmatch("left {8}right", lines[1])
    assert lines[2:] == ["▀" * 8 + " " * 4 + "▀" * 8] * 4


# The numbers


def exact_cover(p: float, n: int) -> float:
    """Probability that the interval of n judgements holds p, by summing over all outcomes."""
    found = 0.0
    for k in range(n + 1):
        low, high = preference.wilson(k / n, n)
        found += math.comb(n, k) * p**k * (1 - p) ** (n - k) * (low <= p <= high)
    return found


def test_wilson_s_interval_solves_its_equation():
    """Its ends are where |p_hat - p| = z sqrt(p (1 - p) / n) (Wilson 1927)."""
    for k, n in ((0, 7), (3, 10), (28, 40), (200, 200)):
        for end in preference.wilson(k / n, n):
            assert abs(k / n - end) == pytest.approx(preference.Z * math.sqrt(end * (1 - end) / n), abs=1e-8)


@pytest.mark.parametrize("n", [20, 40, 100])
def test_the_interval_holds_the_truth_in_95_of_100_cases_on_average(n):
    cover = [exact_cover(p, n) for p in np.linspace(0.1, 0.9, 81)]
    assert 0.94 < float(np.mean(cover)) < 0.96 and min(cover) > 0.88


def test_a_simulated_judge_of_true_preference_0_7_gets_an_interval_that_holds_it_in_about_95_percent_of_400_runs():
    """Through the whole path but the screen: sides by trials, answers by trial id, score by the key."""
    left, right, n = texts("a", 40), texts("b", 40), 40
    rng, held = np.random.default_rng(0), 0
    for run in range(400):
        blind, key = trials(left, right, n, run, secret=f"{run:032x}")
        likes = rng.random(n) < 0.7
        given = {
            t.id: "left" if like == (set_of(t) == "a") else "right" for t, like in zip(blind.trials, likes, strict=True)
        }
        low, high = score(Answers(key=blind.sealed, answers=given), key).interval
        held += low <= 0.7 <= high
    expected = exact_cover(0.7, n)
    assert abs(held / 400 - expected) < 3.3 * math.sqrt(expected * (1 - expected) / 400)
    assert 0.92 < held / 400 < 0.98


def test_ties_widen_no_promise():
    """With a third of ties the interval holds the true score more often than without."""
    rng, held = np.random.default_rng(0), 0
    for wins, losses, ties in rng.multinomial(60, (0.5, 1 / 6, 1 / 3), 2000):
        low, high = Preference(NAMES, int(wins), int(losses), int(ties), 60).interval
        held += low <= 0.5 + 1 / 6 <= high
    assert held / 2000 > 0.95


def test_the_sign_test_is_exact():
    for wins, losses in itertools.product(range(7), range(7)):
        m = wins + losses
        far = [math.comb(m, k) for k in range(m + 1) if abs(k - m / 2) >= abs(wins - m / 2) - 1e-9]
        assert preference.sign_test(wins, losses) == pytest.approx(sum(far) / 2**m)


@pytest.mark.parametrize(("p", "ties"), [(0.6, 0.0), (0.7, 0.0), (0.65, 0.3), (0.4, 0.1)])
def test_the_number_still_needed_gives_the_power_it_promises(p, ties):
    n = preference.judgements_for(p, ties)
    assert n is not None
    rng = np.random.default_rng(1)
    outcomes = rng.multinomial(n, (p - ties / 2, 1 - p - ties / 2, ties), 4000)
    table: dict[tuple[int, int], bool] = {}
    for wins, losses, tied in outcomes.tolist():
        if (wins, losses) not in table:
            table[wins, losses] = Preference(NAMES, wins, losses, tied, n).told
    power = np.mean([table[w, m] for w, m, _ in outcomes.tolist()])
    assert 0.70 < power < 0.86  # the formula is a normal approximation, the test an exact and a cautious one


def test_what_is_said_follows_the_numbers():
    even = Preference(NAMES, 10, 10, 4, 30)
    assert not even.told and even.needed is None and "no number of judgements would" in even.sentences()[-1]
    leaning = Preference(NAMES, 14, 9, 2, 30)
    assert not leaning.told and leaning.needed is not None and leaning.needed > 0
    assert f"about {leaning.needed} more judgements" in leaning.sentences()[-1]
    worse = Preference(NAMES, 5, 35, 0, 40)
    assert worse.told and worse.sentences()[-1] == "So museum is preferred."
    assert Preference(NAMES, 0, 0, 0, 30).sentences() == ("Nothing has been judged yet.",)
    for found in (even, leaning, worse):
        whole = json.loads(json.dumps(found.to_json(), allow_nan=False))
        assert whole["n"] == found.n and whole["sentences"] == list(found.sentences())
        assert whole["interval"][0] <= whole["rate"] <= whole["interval"][1]


def test_preference_of_the_two_sets_exchanged_is_the_same_the_other_way_round():
    one, other = Preference(NAMES, 13, 7, 5, 30), Preference(NAMES[::-1], 7, 13, 5, 30)
    assert one.rate == pytest.approx(1 - other.rate) and one.p_value == other.p_value and one.needed == other.needed
    assert one.interval == pytest.approx((1 - other.interval[1], 1 - other.interval[0]))
