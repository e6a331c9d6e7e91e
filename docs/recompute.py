#!/usr/bin/env python3
"""Recomputes a show from its export, and names every difference.

    tidegate show export 7 --data DIR --out show.jsonl
    python3 recompute.py show.jsonl

Reads the lines that docs/fairness.md describes, with nothing but the standard library, and computes
from what came (answers, stamps, sessions, keys) what must have come of it: every verdict, every card,
who was out, who won, the split, the rains. Exit status: 0 everything holds, 1 something does not, 2
the file cannot be read.
"""

import argparse
import hashlib
import json
import struct
import sys

FORMAT = "tidegate-show/1"
CODES = {
    ("passed", None): 1,
    ("out", "wrong"): 2,
    ("out", "late"): 3,
    ("out", "silent"): 4,
    ("out", "unreachable"): 5,
    ("revived", "wrong"): 6,
    ("revived", "late"): 7,
    ("revived", "silent"): 8,
    ("revived", "unreachable"): 9,
}


class Unreadable(Exception):
    """The file is no export that this program knows."""


class Export:
    """The lines of an export, by kind."""

    def __init__(self, path):
        self.show = self.fund = self.settlement = self.end = None
        self.runs, self.questions, self.rains = [], [], []
        self.players, self.answers = {}, {}
        self.lines, digest = 0, hashlib.sha256()
        with open(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                try:
                    self.take(json.loads(raw))
                except (ValueError, KeyError, TypeError) as error:
                    raise Unreadable(f"line {number}: {error!r}") from error
                if self.end is None:
                    digest.update(raw)
                    self.lines += 1
        self.sha256 = digest.hexdigest()
        if self.show is None or self.end is None or self.fund is None:
            raise Unreadable("the first or the last line is missing: the export is not whole")

    def take(self, line):
        if self.end is not None:
            raise ValueError("a line behind the last one")
        kind = line["kind"]
        if self.show is None and (kind != "show" or line["format"] != FORMAT):
            raise ValueError(f"not an export in the format {FORMAT}")
        if kind in ("show", "fund", "settlement", "end"):
            if getattr(self, kind) is not None:
                raise ValueError(f"a second line of kind {kind}")
            setattr(self, kind, line)
        elif kind in ("run", "question", "rain"):
            getattr(self, kind + "s").append(line)
        elif kind == "player":
            if line["user"] in self.players:
                raise ValueError(f"user {line['user']} a second time")
            self.players[line["user"]] = line
        elif kind == "answer":
            if (line["user"], line["question"]) in self.answers:
                raise ValueError(f"user {line['user']}, question {line['question']} a second time")
            self.answers[line["user"], line["question"]] = line
        else:
            raise ValueError(f"unknown kind {kind}")


class Check:
    """What an export says, against what follows from it."""

    def __init__(self, export, all_packets):
        self.export, self.all_packets = export, all_packets
        self.differences, self.notes = [], []
        self.verdicts = 0

    def equal(self, what, said, computed):
        if said != computed:
            self.differences.append(f"{what}: the export says {said!r}, computed is {computed!r}")

    def run(self):
        self.whole()
        for question in self.export.questions:
            self.question(question)
        counting = [it for it in self.export.questions if counts(it)]
        sums = {it["question"]: Sums(it) for it in counting}
        winners = 0
        for user in self.export.players:
            winners += self.player(user, counting, sums)
        for question in counting:
            sums[question["question"]].compare(self, question)
        for user, question in self.export.answers:
            if user not in self.export.players:
                self.differences.append(f"user {user} answered question {question} and never joined")
        self.money(winners)
        self.rains()

    def whole(self):
        self.equal("lines", self.export.end["lines"], self.export.lines)
        self.equal("SHA-256 of the lines", self.export.end["sha256"], self.export.sha256)
        self.equal("players", self.export.show["players"], len(self.export.players))
        asked = [it["question"] for it in self.export.questions]
        self.equal("the order of the questions", asked, list(range(len(asked))))

    # Questions.

    def question(self, it):
        name = f"question {it['question']}"
        last = it["question"] + 1 == self.export.show["question_count"]
        self.equal(f"{name}, the last one", it["is_last"], last)
        revealed = it["revealed_at_ns"] is not None
        if it["is_told"] != bool(it["result_key"]) or it["is_told"] and not revealed:
            self.differences.append(f"{name}: a key goes with a reveal, and only with one")
        if it["is_told"]:
            self.commitment(name, it)
            self.equal(f"{name}, keys", len(it["correct"]), 1 + len(it["rejudgements"]))
        self.times(name, it)
        if it["coverage"] is not None:
            self.coverage(name, it["coverage"])

    def commitment(self, name, it):
        """SHA-256(result key, correct option, show, question), published with the question."""
        committed = bytes.fromhex(it["result_key"])
        committed += struct.pack(">BQH", it["correct"][0], self.export.show["show"], it["question"])
        self.equal(f"{name}, commitment", it["commitment"], hashlib.sha256(committed).hexdigest())

    def times(self, name, it):
        if it["closing_at_ns"] is None:
            return
        life = self.export.show["ticket_life_ns"] + self.export.show["stream_delay_ns"]
        self.equal(f"{name}, tickets until", it["tickets_until_ns"], it["answer_by_ns"] + life)
        if it["closing_at_ns"] < it["tickets_until_ns"]:
            self.differences.append(f"{name}: its closing began before its tickets ended")
        if it["closed_at_ns"] is None or not it["shards"]:
            return
        # Nobody is judged by a question that a shard had too late.
        run = self.run_at(it["closing_at_ns"])
        for shard in range(run["shards"]):
            mine = [o for o in it["shards"] if (o["run"], o["shard"]) == (run["run"], shard)]
            if all(offer["queued_at_ns"] > it["show_by_ns"] for offer in mine):
                self.differences.append(
                    f"{name}: shard {shard} of run {run['run']} did not have it by show_by"
                )

    def coverage(self, name, it):
        had = it["curve"][-1][1] if it["curve"] else 0
        self.equal(f"{name}, served", it["served"], had)
        for key, permille in (("p50", 500), ("p99", 990), ("p999", 999), ("p100", 1000)):
            wanted = -(-had * permille // 1000)
            within = next((bound for bound, count in it["curve"] if count >= wanted), None)
            self.equal(f"{name}, coverage {key}", it[f"{key}_us"], within)
        if it["first_at_ns"] is not None:
            spread = it["last_at_ns"] - it["first_at_ns"]
            self.equal(f"{name}, spread", it["spread_ns"], spread)

    def run_at(self, at):
        runs = [run for run in self.export.runs if run["began_at_ns"] <= at]
        return runs[-1] if runs else self.export.runs[0]

    # Players.

    def player(self, user, counting, sums):
        """Judges a player at every question that counts; 1 for a winner."""
        it, name = self.export.players[user], f"user {user}"
        # The first that came on record: of two sessions at once that need not be the older one.
        joined = it["visits"][0]["since_ns"]
        self.equal(f"{name}, joined", it["joined_at_ns"], joined)
        first = next((q for q in self.export.questions if q["voided_at_ns"] is None), None)
        closed = first is not None and first["closing_at_ns"] is not None
        outcome, out_at, used_before = "in_play", None, False
        if closed and joined > first["answer_by_ns"]:
            outcome = "spectator"
        expected_moves = {}
        for question in counting:
            index = question["question"]
            answer = self.export.answers.get((user, index))
            judged = answer is not None and bool(answer["judgements"])
            if outcome != "in_play":
                if judged:
                    self.differences.append(
                        f"{name}, question {index}: judged, though not in the game"
                    )
                continue
            if not judged:
                self.differences.append(f"{name}, question {index}: in the game and not judged")
                outcome = "unknown"
                continue
            verdict = self.judge(it, answer, question, used_before, expected_moves)
            sums[index].add(self, it, answer, question)
            used_before = used_before or verdict[0] == "revived"
            if verdict[0] == "out":
                outcome, out_at = "out", index
        self.card_moves(it, expected_moves)
        won = outcome == "in_play" and self.export.settlement is not None and bool(counting)
        outcome = "winner" if won else outcome
        self.equal(f"{name}, outcome", it["outcome"], outcome)
        self.equal(f"{name}, out at", it["out_at"], out_at)
        prize = None
        if self.export.settlement is not None:
            prize = self.export.settlement["per_head_cents"] if won else 0
        self.equal(f"{name}, prize", it["prize_cents"], prize)
        if self.export.show["is_over"]:
            self.equal(f"{name}, paid", it["is_paid"], won)
        return int(won)

    def judge(self, player, answer, question, used_before, expected_moves):
        """The verdict that follows; compared with each that was given."""
        name = f"user {player['user']}, question {question['question']}"
        offered = self.offered(player, answer, question)
        said = (answer["offered_at_ns"], answer["offered_on_shard"])
        self.equal(f"{name}, offered", said, offered)
        self.ticket(name, answer)
        covers, judgements = self.export.show["card_covers"], answer["judgements"]
        revisions = [0] + [
            revision
            for revision in range(1, len(question["correct"]))
            if answer["option"] is not None and answer["stamp_ns"] <= question["answer_by_ns"]
        ]
        self.equal(f"{name}, judgements", [it["revision"] for it in judgements], revisions)
        verdict, held_first = None, None
        for it in judgements:
            revision = it["revision"]
            if revision >= len(question["correct"]):
                break
            failing = None
            if answer["option"] is None:
                failing = "silent" if offered[0] is not None else "unreachable"
            elif answer["stamp_ns"] > question["answer_by_ns"]:
                failing = "late"
            elif answer["option"] != question["correct"][revision]:
                failing = "wrong"
            returned = int(verdict is not None and verdict[0] == "revived")
            held = self.held(name, player, it)
            if held is None:
                # Withheld: what was given has to be believed.
                has_card = it["verdict"] == "revived"
            elif verdict is None:
                has_card = held_first = held > 0
            else:
                has_card = held_first and held + returned > 0
            covered = {
                "wrong": covers["wrong"],
                "late": covers["late"],
                "silent": covers["late"],
                "unreachable": covers["unreachable"],
            }
            if failing is None:
                computed = ("passed", None)
            elif covered[failing] and has_card and not used_before and not question["is_last"]:
                computed = ("revived", failing)
            else:
                computed = ("out", failing)
            self.equal(f"{name}, verdict {revision}", (it["verdict"], it["reason"]), computed)
            change = returned - int(computed[0] == "revived")
            if change:
                expected_moves[it["run"], it["record"], question["question"]] = change
            verdict = computed
            self.verdicts += 1
        last = judgements[-1]
        said = (answer["verdict"], answer["reason"], answer["card_used"])
        computed = (last["verdict"], last["reason"], last["verdict"] == "revived")
        self.equal(f"{name}, last verdict", said, computed)
        return verdict or ("out", None)

    def ticket(self, name, answer):
        """An answer by a ticket is judged by the ticket's stamp, and bound to its option."""
        if not answer["by_ticket"]:
            self.equal(f"{name}, stamp", answer["stamp_ns"], answer["arrived_at_ns"])
        elif answer["stamp_ns"] > answer["arrived_at_ns"]:
            self.differences.append(f"{name}: its ticket is younger than the answer")
        ticket = answer["ticket"]
        bound = ticket is not None and answer["option"] is not None
        if bound and ticket["stamp_ns"] <= answer["stamp_ns"]:
            self.equal(f"{name}, option by ticket", answer["option"], ticket["option"])

    def offered(self, player, answer, question):
        """The first session of the player that was there between the opening and show_by."""
        closing_run = self.run_at(question["closing_at_ns"])["run"]
        # After a restart a question that was open is offered again to whoever had not answered.
        run = closing_run if answer["run"] is None else min(answer["run"], closing_run)
        opened, best = question["opened_at_ns"], (None, None)
        for visit in player["visits"]:
            if visit["run"] < run or visit["until_ns"] is not None and visit["until_ns"] <= opened:
                continue
            at = max(visit["since_ns"], opened)
            if at <= question["show_by_ns"] and (best[0] is None or at < best[0]):
                best = (at, visit["shard"])
        return best

    def held(self, name, player, judgement):
        """The cards that a player held when it was judged."""
        if player["cards_at_join"] is None or judgement["cards_held"] is None:
            return None
        place = (judgement["run"], judgement["record"])
        held = player["cards_at_join"] + sum(
            move["change"] for move in player["cards"] if (move["run"], move["record"]) < place
        )
        self.equal(f"{name}, cards held", judgement["cards_held"], held)
        return held

    def card_moves(self, player, expected):
        if player["cards_at_join"] is None:
            return
        show = self.export.show["show"]
        said = {
            (move["run"], move["record"], move["question"]): move["change"]
            for move in player["cards"]
            if move["cause"] == "question" and move["show"] == show
        }
        self.equal(f"user {player['user']}, cards used", said, expected)

    # Money.

    def money(self, winners):
        it, show = self.export.settlement, self.export.show
        if it is None:
            self.notes.append("the show has no settlement: there is no prize to recompute")
            return
        self.equal("winners", it["winners"], winners)
        self.equal("pool", it["pool_cents"], show["prize_pool_cents"])
        self.equal("account of the remainder", it["account"], show["remainder_account"])
        each, left = divmod(it["pool_cents"], winners) if winners else (0, it["pool_cents"])
        self.equal("share of each", it["per_head_cents"], each)
        self.equal("remainder", it["remainder_cents"], left)
        paid = sum(player["prize_cents"] or 0 for player in self.export.players.values())
        self.equal("prizes and remainder", paid + it["remainder_cents"], it["pool_cents"])
        self.equal("hash of the game", it["game_hash"], self.game_hash())

    def game_hash(self):
        """SHA-256 over a digest of each bucket, ascending; a digest is over its users' verdicts."""
        buckets = [hashlib.sha256() for _ in range(self.export.show["buckets"])]
        asked = [it["question"] for it in self.export.questions if counts(it)]
        for user in sorted(self.export.players):
            player = self.export.players[user]
            if player["outcome"] == "spectator":
                continue
            for question in asked:
                answer = self.export.answers.get((user, question))
                if answer is not None and answer["verdict"] is not None:
                    code = CODES.get((answer["verdict"], answer["reason"]), 0)
                    row = struct.pack(">QHB", user, question, code)
                    buckets[player["bucket"]].update(row)
        whole = hashlib.sha256()
        for bucket in buckets:
            whole.update(bucket.digest())
        return whole.hexdigest()

    # Rains.

    def rains(self):
        won = {}
        for user, player in self.export.players.items():
            for packet in player["packets"]:
                won.setdefault(packet["rain"], []).append((user, packet))
        for rain in self.export.rains:
            self.rain(rain, won.pop(rain["rain"], []))
        for rain in won:
            self.differences.append(f"rain {rain}: packets of a rain that was never planned")
        fund = self.export.fund
        pools = sum(rain["pool_cents"] for rain in self.export.rains)
        back = sum(rain["ended"]["returned_cents"] for rain in self.export.rains if rain["ended"])
        if fund["closed_cents"] is not None:
            left = fund["funded_cents"] - pools + back
            self.equal("what the rains' fund had left", fund["closed_cents"], left)

    def rain(self, rain, won):
        name = f"rain {rain['rain']}"
        numbers, slots, of_user = set(), set(), {}
        for user, packet in won:
            who = f"{name}, user {user}, tap {packet['slot']}"
            if packet["number"] in numbers:
                self.differences.append(f"{who}: packet {packet['number']} went out twice")
            if (user, packet["slot"]) in slots:
                self.differences.append(f"{who}: won twice")
            numbers.add(packet["number"])
            slots.add((user, packet["slot"]))
            of_user[user] = of_user.get(user, 0) + 1
            if packet["slot"] >= rain["taps_max"]:
                self.differences.append(f"{who}: beyond the taps that count")
            if not any(
                grant["first"] <= packet["number"] < grant["first"] + grant["count"]
                for grant in rain["grants"]
            ):
                self.differences.append(f"{who}: packet {packet['number']} was granted to no shard")
            if packet["cents"] < 1:
                self.differences.append(f"{who}: less than a cent")
        most = rain["show_packets_max"]
        for user, count in of_user.items():
            if most and count > most:
                self.differences.append(f"{name}, user {user}: more than {most} packets")
        ended, paid = rain["ended"], sum(packet["cents"] for _, packet in won)
        if ended is None:
            self.notes.append(f"{name} has not ended: its amounts are not recomputed")
            return
        self.equal(f"{name}, packets grabbed", ended["grabbed"], len(won))
        self.equal(f"{name}, cents paid", ended["paid_cents"], paid)
        returned = rain["pool_cents"] - paid
        self.equal(f"{name}, cents returned", ended["returned_cents"], returned)
        if len(won) > PACKETS_MAX and not self.all_packets:
            self.notes.append(
                f"{name}: the amounts of {len(won)} packets were not drawn again; "
                "--all-packets does it, in some milliseconds each"
            )
            return
        plan = Plan(rain)
        for user, packet in won:
            who = f"{name}, user {user}, tap {packet['slot']}"
            if not plan.wins(user, packet["slot"]):
                self.differences.append(f"{who}: by the seed this tap does not win")
            if packet["number"] < rain["packets"]:
                self.equal(f"{who}, cents", packet["cents"], plan.amount(packet["number"]))


def counts(question):
    """Whether a question counts, by what is told."""
    return question["is_told"] and question["voided_at_ns"] is None


class Sums:
    """How a question went, counted from its answers."""

    def __init__(self, question):
        options = (question["counts"] or {"options": []})["options"]
        self.first, self.last = ({
            "answered": 0, "options": [0] * len(options), "correct": 0, "late": 0, "silent": 0,
            "unreachable": 0, "revived": 0, "eliminated": 0, "by_ticket": 0,
        } for _ in range(2))

    def add(self, check, player, answer, question):
        for sums, judged in ((self.first, answer["judgements"][0]),
                             (self.last, answer["judgements"][-1])):
            if answer["option"] is not None:
                sums["answered"] += 1
                sums["by_ticket"] += int(answer["by_ticket"])
                if answer["stamp_ns"] <= question["answer_by_ns"]:
                    if answer["option"] < len(sums["options"]):
                        sums["options"][answer["option"]] += 1
                    else:
                        who = f"user {player['user']}, question {question['question']}"
                        check.differences.append(f"{who}: no such option")
            key = {"passed": "correct", "revived": "revived", "out": "eliminated"}
            sums[key[judged["verdict"]]] += 1
            if judged["reason"] in ("late", "silent", "unreachable"):
                sums[judged["reason"]] += 1

    def compare(self, check, question):
        name = f"question {question['question']}"
        results = [(question["counts"], question["in_play"], self.first)]
        if question["rejudgements"]:
            again = question["rejudgements"][-1]
            results.append((again["counts"], again["in_play"], self.last))
        for said, in_play, sums in results:
            check.equal(f"{name}, counts", said, sums)
            check.equal(f"{name}, in play", in_play, sums["correct"] + sums["revived"])


# What follows from a rain's seed. More packets than this are drawn again only if asked for.
PACKETS_MAX = 2_000
MASK = 0xFFFFFFFF


def rotated(value, bits):
    return (value << bits | value >> (32 - bits)) & MASK


def chacha_block(key, counter, stream):
    """A block of ChaCha20 (RFC 8439's function, with 64 bits each of counter and nonce)."""
    start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574]
    start += struct.unpack("<8I", key)
    start += [counter & MASK, counter >> 32, stream & MASK, stream >> 32]
    state = list(start)
    columns = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
    diagonals = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
    for _ in range(10):
        for a, b, c, d in columns + diagonals:
            for bits_first, bits_second in ((16, 12), (8, 7)):
                state[a] = (state[a] + state[b]) & MASK
                state[d] = rotated(state[d] ^ state[a], bits_first)
                state[c] = (state[c] + state[d]) & MASK
                state[b] = rotated(state[b] ^ state[c], bits_second)
    return struct.pack("<16I", *((x + y) & MASK for x, y in zip(state, start)))


def below(block, place, bound):
    """The number below `bound` that the 8 bytes at `place` draw."""
    return struct.unpack_from("<Q", block, 8 * place)[0] * bound >> 64


class Plan:
    """The amounts and the winning taps of a rain."""

    def __init__(self, rain):
        self.rain, seed = rain, bytes.fromhex(rain["seed"])
        self.amounts, self.order, self.taps = (
            hashlib.sha256(seed + purpose).digest() for purpose in (b"amounts", b"order", b"taps")
        )

    def wins(self, user, slot):
        return below(chacha_block(self.taps, slot, user), 0, 10_000) < self.rain["win_per_10000"]

    def amount(self, number):
        packets = self.rain["packets"]
        leaf, first, end = self.leaf(number), 0, packets
        # Beyond the cent that each has for certain.
        extra = self.rain["pool_cents"] - packets
        while end - first > 1:
            middle = first + (end - first) // 2
            left = self.left_share(first, middle, end, extra)
            if leaf < middle:
                end, extra = middle, left
            else:
                first, extra = middle, extra - left
        return extra + 1

    def left_share(self, first, middle, end, extra):
        block, count = chacha_block(self.amounts, 0, first << 32 | end), end - first
        average, rest = divmod(extra * (middle - first), count)
        average += int(below(block, 0, count) < rest)
        root = int(count ** 0.5)
        while root * root > count:
            root -= 1
        while (root + 1) ** 2 <= count:
            root += 1
        width = min(2 * min(average, extra - average), extra // root)
        return average - width // 2 + below(block, 1, width + 1)

    def leaf(self, number):
        packets = self.rain["packets"]
        half = -(-(packets - 1).bit_length() // 2)
        place = self.shuffle(number, half)
        while place >= packets:
            place = self.shuffle(place, half)
        return place

    def shuffle(self, number, half):
        mask = (1 << half) - 1
        left, right = number >> half, number & mask
        for turn in range(4):
            drawn = struct.unpack_from("<I", chacha_block(self.order, right, turn))[0]
            left, right = right, left ^ (drawn & mask)
        return left << half | right


def main():
    parser = argparse.ArgumentParser(description="Recomputes a show from its export.")
    parser.add_argument("export", help="what `tidegate show export` wrote")
    parser.add_argument("--all-packets", action="store_true",
                        help=f"draw every packet again, also of rains with more than {PACKETS_MAX}")
    arguments = parser.parse_args()
    try:
        export = Export(arguments.export)
        check = Check(export, arguments.all_packets)
        check.run()
    except (OSError, Unreadable) as error:
        print(f"{arguments.export}: {error}", file=sys.stderr)
        return 2
    except (KeyError, TypeError, ValueError, IndexError, struct.error) as error:
        print(f"{arguments.export}: a line has not the fields of its kind: {error!r}", file=sys.stderr)
        return 2
    for note in check.notes:
        print(f"note: {note}")
    for difference in check.differences:
        print(difference)
    if check.differences:
        print(f"{len(check.differences)} differences")
        return 1
    show, over = export.show["show"], "" if export.show["is_over"] else ", so far"
    print(f"show {show} holds{over}: {len(export.players)} players, {check.verdicts} verdicts, "
          f"{len(export.questions)} questions, {len(export.rains)} rains")
    return 0


if __name__ == "__main__":
    sys.exit(main())
