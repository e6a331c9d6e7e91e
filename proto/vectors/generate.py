"""Writes the golden vectors with Google's Protobuf implementation, from the schema alone.

    python3 -m venv target/vectors
    target/vectors/bin/pip install grpcio-tools==1.85.1 protobuf==7.36.2
    target/vectors/bin/python proto/vectors/generate.py

Each vector is NAME.bin (binary Protobuf) and NAME.json (canonical ProtoJSON) of one frame; names
beginning with `client_` are of ClientFrame, with `server_` of ServerFrame. tests/vectors.rs reads
them and holds the expected values, written down a second time by hand.
"""

import importlib
import pathlib
import sys
import tempfile

from google.protobuf import json_format
from grpc_tools import protoc

HERE = pathlib.Path(__file__).resolve().parent
SCHEMA = HERE.parent
I64_MIN, I64_MAX = -(2**63), 2**63 - 1
U32_MAX, U64_MAX = 2**32 - 1, 2**64 - 1


def load_schema():
    """Compiles the schema and imports what came out."""
    out = tempfile.mkdtemp()
    files = sorted(str(path) for path in (SCHEMA / "tidegate" / "v1").glob("*.proto"))
    if protoc.main(["protoc", f"-I{SCHEMA}", f"--python_out={out}", *files]) != 0:
        raise SystemExit("the schema does not compile")
    sys.path.insert(0, out)
    modules = [importlib.import_module(f"tidegate.v1.{name}_pb2")
               for name in ("frame", "business", "room", "quiz", "money")]
    names = {}
    for module in modules:
        names.update({name: getattr(module, name) for name in dir(module)})
    return names


P = load_schema()


def make(message, /, **fields):
    return P[message](**fields)


def client(kind, payload, sequence, **more):
    """A request; `kind` names the business type and, in lower case, the payload."""
    field = kind.lower()
    business = make("Business", type=f"BUSINESS_TYPE_{kind}", sequence=sequence,
                    request=make("Request", **{field: payload}))
    return make("ClientFrame", type=1, business=business, **more)


def response(kind, field, payload, sequence, time):
    business = make("Business", type=f"BUSINESS_TYPE_{kind}", sequence=sequence,
                    response=make("Response", server_time_ms=time, **{field: payload}))
    return make("ServerFrame", type=1, status="STATUS_DONE", business=business)


def notification(kind, field, payload, stamp=None, time=1_700_000_000_123):
    inner = make("Notification", server_time_ms=time, stamp=stamp, **{field: payload})
    business = make("Business", type=f"BUSINESS_TYPE_{kind}", notification=inner)
    return make("ServerFrame", type=1, status="STATUS_DONE", business=business)


def stamp(lane="LANE_HIGH", version=3):
    return make("RoomStamp", room_id=42, epoch=7, lane=lane, version=version)


def question():
    return make("Question", show_id=9, question=2, text="Wie viele Beine hat eine Spinne? \U0001f577",
                options=["6", "8", "", "zehn"], show_at_ms=1_700_000_000_500,
                show_by_ms=1_700_000_003_500, answer_by_ms=1_700_000_013_500,
                commitment=bytes(range(32)), last=True)


def sealed(first):
    return make("SealedResult", show_id=9, question=2, nonce=bytes(range(first, first + 12)),
                ciphertext=bytes(range(200, 240)))


def reveal():
    return make("Reveal", show_id=9, question=2, result_key=bytes(range(32)), correct_option=1,
                option_counts=[0, 127, 128, 300_000], in_play=299_999)


def show_state():
    return make("ShowState", show_id=9, room_id=42, title="Abendshow", phase="PHASE_OPEN",
                question_count=12, prize_pool_cents=10_000_000, starts_at_ms=1_700_000_000_000)


def lane(name, version):
    return make("LanePosition", lane=f"LANE_{name}", version=version)


def vectors():
    failure = make("Failure", reason="REASON_TOKEN_EXPIRED", message="The token expired at 12:00.")
    later = make("Failure", reason="REASON_RATE_LIMITED", retry_after_ms=U32_MAX, sequence="s-1")
    yield "client_empty", make("ClientFrame")
    yield "client_heartbeat_bare", make("ClientFrame", type=-1)
    yield "client_heartbeat", make("ClientFrame", type=-1, heartbeat=make(
        "Heartbeat", client_sent_ms=-5, rtt_ms=17))
    yield "client_heartbeat_set_but_empty", make(
        "ClientFrame", type=-1, heartbeat=make("Heartbeat"))
    yield "client_authenticate", make("ClientFrame", type=0, user_id=1, token="a.b-c_d.e")
    yield "client_type_extremes", make("ClientFrame", type=-(2**31), user_id=U64_MAX)
    yield "client_join", client("JOIN", make("Join", room_id=42), "1", user_id=5)
    yield "client_join_resume", client("JOIN", make(
        "Join", room_id=U64_MAX, epoch=7,
        positions=[lane("HIGH", 9), lane("MID", 0), lane("LOW", U64_MAX)]), "2")
    yield "client_join_opening_seals", client("JOIN", make(
        "Join", room_id=42, opens_seals=True), "1")
    yield "client_leave", client("LEAVE", make("Leave"), "3")
    yield "client_publish", client("PUBLISH", make(
        "Publish", lane="LANE_LOW", data=bytes(range(256))), "4")
    yield "client_publish_empty", client("PUBLISH", make("Publish"), "")
    yield "client_chat", client("CHAT", make("Chat", text="hallo \u4e16\u754c \U0001f44b"), "7")
    yield "client_chat_empty", client("CHAT", make("Chat"), "8")
    yield "client_like", client("LIKE", make("Like", count=U32_MAX), "9")
    yield "client_answer", client("ANSWER", make("Answer", show_id=9, question=2, option=1), "5")
    yield "client_answer_retry", client("ANSWER", make(
        "Answer", show_id=U64_MAX, question=U32_MAX, option=U32_MAX, ticket=b"\xff\xfe\xfd\x00"),
        "\u20ac \"quoted\" \\ \u0007 \U0001f600")
    yield "client_request_without_payload", make("ClientFrame", type=1, business=make(
        "Business", type="BUSINESS_TYPE_ANSWER", sequence="6", request=make("Request")))

    yield "server_empty", make("ServerFrame")
    yield "server_session", make("ServerFrame", status="STATUS_DONE", session=make(
        "Session", user_id=5, heartbeat_interval_ms=15_000, server_time_ms=1_700_000_000_001))
    yield "server_session_with_expiry", make("ServerFrame", status="STATUS_DONE", session=make(
        "Session", user_id=5, heartbeat_interval_ms=15_000, server_time_ms=1_700_000_000_001,
        token_expires_in_ms=U32_MAX))
    yield "server_heartbeat_bare", make("ServerFrame", type=-1, status="STATUS_DONE")
    yield "server_heartbeat", make("ServerFrame", type=-1, status="STATUS_DONE", heartbeat=make(
        "Heartbeat", client_sent_ms=I64_MIN, server_received_ms=I64_MAX, server_sent_ms=-1))
    yield "server_token_refused", make("ServerFrame", error_code=100, failure=failure)
    yield "server_token_revoked", make("ServerFrame", error_code=100, failure=make(
        "Failure", reason="REASON_TOKEN_REVOKED"))
    yield "server_room_forbidden", make("ServerFrame", type=1, error_code=101, failure=make(
        "Failure", reason="REASON_ROOM_FORBIDDEN", sequence="s-2"))
    yield "server_business_failed", make("ServerFrame", type=1, error_code=101, failure=later)
    yield "server_chat_muted", make("ServerFrame", type=1, error_code=101, failure=make(
        "Failure", reason="REASON_MUTED", message="you are muted", sequence="7",
        until_ms=1_700_000_600_000))
    yield "server_chat_discarded", make("ServerFrame", type=1, error_code=101, failure=make(
        "Failure", reason="REASON_ROOM_OVERLOADED", retry_after_ms=20, sequence="7"))
    yield "server_error_code_zero", make("ServerFrame", type=1, error_code=0)
    yield "server_error_code_max", make("ServerFrame", type=1, error_code=U32_MAX)
    yield "server_joined", response("JOIN", "joined", make(
        "Joined", room_id=42, epoch=7, positions=[lane("HIGH", 9), lane("LOW", 1)],
        resumed=True), "1", 1)
    yield "server_left", response("LEAVE", "left", make("Left", room_id=42), "3", 2)
    yield "server_published", response("PUBLISH", "published", make(
        "Published", stamp=stamp("LANE_LOW", 1)), "4", 3)
    yield "server_chat_published", response("CHAT", "chat_published", make(
        "ChatPublished", stamp=stamp("LANE_LOW", 2)), "7", 3)
    yield "server_liked", response("LIKE", "liked", make("Liked", count=50), "9", 3)
    yield "server_answer_received", response("ANSWER", "answer_received", make(
        "AnswerReceived", result=sealed(1)), "5", 4)
    yield "server_retry_answer", response("ANSWER", "retry_answer", make(
        "RetryAnswer", show_id=9, question=2, retry_after_ms=750, ticket=b"ticket"), "5", 5)
    yield from money()
    yield "server_room_message", notification("ROOM_MESSAGE", "room_message", make(
        "RoomMessage", user_id=5, data="hallo \u4e16\u754c".encode()), stamp("LANE_LOW", U64_MAX))
    yield "server_room_message_of_128_bytes", notification("ROOM_MESSAGE", "room_message", make(
        "RoomMessage", user_id=0, data=b"x" * 128), stamp("LANE_MID", 128))
    info = make("RoomInfo", room_id=42, online=1_000_000, chat_permille=250,
                reconnect_spread_ms=60_000)
    said = [make("RoomMessage", user_id=5, data=b"one"), make("RoomMessage", data=b"two", kind=7)]
    yield "server_room_batch", notification("ROOM_BATCH", "room_batch", make(
        "RoomBatch", messages=said, thinned=b"\x05\x80", info=info), stamp("LANE_LOW", 9))
    yield "server_room_batch_empty", notification(
        "ROOM_BATCH", "room_batch", make("RoomBatch"), stamp("LANE_MID", 1))
    yield "server_room_info", notification("ROOM_INFO", "room_info", info)
    yield "server_room_closed", notification(
        "ROOM_CLOSED", "room_closed", make("RoomClosed", room_id=42), stamp())
    yield "server_joined_with_info", response("JOIN", "joined", make(
        "Joined", room_id=42, epoch=7, info=info), "1", 1)
    yield "server_chat_message", notification("ROOM_MESSAGE", "room_message", make(
        "RoomMessage", user_id=U64_MAX, text="*** \u654f\u611f"), stamp("LANE_LOW", 2))
    yield "server_likes", notification("ROOM_MESSAGE", "room_message", make(
        "RoomMessage", likes=make("Likes", count=300, total=U64_MAX)), stamp("LANE_LOW", 9))
    yield "server_gap", notification("GAP", "gap", make(
        "Gap", room_id=42, epoch=7, lane="LANE_MID", first_missing=4, last_missing=1_000_000))
    yield "server_question", notification("QUESTION", "question", question(), stamp())
    yield "server_reveal", notification("REVEAL", "reveal", reveal(), stamp())
    yield "server_snapshot", notification("SNAPSHOT", "snapshot", make(
        "Snapshot", show=show_state(), standing="STANDING_IN_PLAY", last_revealed=1,
        revive_cards=2, open_question=question(), recorded_option=3, recorded_result=sealed(9),
        prize_cents=123_456))
    yield "server_snapshot_with_reveal", notification("SNAPSHOT", "snapshot", make(
        "Snapshot", show=show_state(), standing="STANDING_OUT", last_revealed=2,
        recorded_option=1, recorded_result=sealed(9), recorded_question=0, last_reveal=reveal()))
    yield "server_snapshot_zero_is_not_absent", notification("SNAPSHOT", "snapshot", make(
        "Snapshot", standing="STANDING_SPECTATOR", last_revealed=0, recorded_option=0))
    yield "server_snapshot_absent", notification("SNAPSHOT", "snapshot", make("Snapshot"), time=0)
    yield "server_result", notification("RESULT", "result", sealed(50))
    yield "server_show_state", notification("SHOW_STATE", "show_state", show_state(), stamp())
    yield "server_settled", notification("SETTLED", "settled", make(
        "Settled", show_id=9, winners=3, prize_pool_cents=100, per_head_cents=33,
        remainder_cents=1), stamp())
    yield "server_settled_extremes", notification("SETTLED", "settled", make(
        "Settled", show_id=U64_MAX, winners=U64_MAX, prize_pool_cents=I64_MAX,
        per_head_cents=I64_MIN, remainder_cents=-1), time=I64_MIN)
    yield "server_question_extended", notification(
        "QUESTION_EXTENDED", "question_extended", make(
            "QuestionExtended", show_id=9, question=2, show_by_ms=1, answer_by_ms=2), stamp())
    yield "server_sealed_question", notification("SEALED_QUESTION", "sealed_question", make(
        "SealedQuestion", show_id=9, question=2, commitment=bytes(range(32)),
        ciphertext=bytes(range(256)) + bytes(range(16))), stamp("LANE_MID", 5))
    yield "server_question_key", notification("QUESTION_KEY", "question_key", make(
        "QuestionKey", key=bytes(range(100, 132)), show_id=9, question=2,
        show_at_ms=1_700_000_000_500, show_by_after_ms=3_000, answer_by_after_ms=10_000), stamp())
    yield "server_question_withdrawn", notification(
        "QUESTION_WITHDRAWN", "question_withdrawn", make(
            "QuestionWithdrawn", show_id=9, question=2), stamp())
    yield "server_question_voided", notification("QUESTION_VOIDED", "question_voided", make(
        "QuestionVoided", show_id=9, question=0), stamp())
    yield "server_rejudged", notification("REJUDGED", "rejudged", make(
        "Rejudged", show_id=9, question=2, correct_option=0, in_play=5), stamp())


def money():
    tap = {"show_id": 9, "rain": 2, "slot": 1}
    yield "client_grab", client("GRAB", make("Grab", **tap), "60")
    yield "client_withdraw", client("WITHDRAW", make("Withdraw", key="w-1", cents=I64_MAX), "61")
    yield "client_give", client("GIVE", make("Give", key="g-1", kind=7, cents=1), "62")
    yield "client_redeem", client("REDEEM", make("Redeem", code="1A2B3C"), "63")
    yield "server_grabbed", response("GRAB", "grabbed", make("Grabbed", cents=120, **tap), "60", 6)
    yield "server_grabbed_nothing", response("GRAB", "grabbed", make("Grabbed", **tap), "60", 6)
    yield "server_withdrawal", response("WITHDRAW", "withdrawal", make(
        "Withdrawal", key="w-1", cents=5, state="WITHDRAWAL_STATE_REVERSED",
        balance_cents=I64_MAX, number=U64_MAX), "61", 6)
    yield "server_given", response("GIVE", "given", make(
        "Given", key="g-1", balance_cents=3), "62", 6)
    yield "server_redeemed", response("REDEEM", "redeemed", make(
        "Redeemed", inviter_id=U64_MAX, cards=1), "63", 6)
    yield "server_purse", response("PURSE", "purse", make(
        "Purse", balance_cents=5, revive_cards=2, invitation_code="1A2B3C", invited=4), "64", 6)
    yield "server_rain", notification("RAIN", "rain", make(
        "Rain", show_id=9, rain=2, phase="RAIN_PHASE_FALLING", packets=500, pool_cents=100_000,
        taps_max=3, send_per_million=20_000, ends_at_ms=1_700_000_000_000), stamp())
    yield "server_rain_ended", notification("RAIN", "rain", make(
        "Rain", show_id=9, rain=2, phase="RAIN_PHASE_ENDED", packets=500, pool_cents=100_000,
        taps_max=3, grabbed=499, paid_cents=99_900), stamp())
    yield "server_gift_shown", notification("GIFT_SHOWN", "gift_shown", make(
        "GiftShown", user_id=5, kind=7, cents=1), stamp())


def write(name, binary, text):
    (HERE / f"{name}.bin").write_bytes(binary)
    (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def to_json(message):
    return json_format.MessageToJson(message, indent=2, ensure_ascii=False)


def main():
    for message in [path for kind in ("bin", "json") for path in HERE.glob(f"*.{kind}")]:
        message.unlink()
    for name, message in vectors():
        write(name, message.SerializeToString(deterministic=True), to_json(message))

    # What a newer sender may send: fields 1000 (varint), 1001 (fixed 64), 1002 (bytes), 1003
    # (fixed 32) that this schema does not have, and in JSON members of every kind.
    unknown = (b"\xc0\x3e\x96\x01" + b"\xc9\x3e" + b"\x01" * 8 + b"\xd2\x3e\x03new"
               + b"\xdd\x3e" + b"\x02" * 4)
    answer = client("ANSWER", make("Answer", show_id=9, question=2, option=1), "5")
    members = ('"newNumber": 1, "newText": "x", "newNull": null, "newList": [{"a": [1.5]}],'
               ' "newObject": {"type": 3}')
    text = to_json(answer).replace("{", "{" + members + ",", 1)
    write("client_unknown_fields", unknown + answer.SerializeToString() + unknown, text)
    session = make("ServerFrame", status="STATUS_DONE", session=make("Session", user_id=5))
    text = to_json(session).replace("{", "{" + members + ",", 1)
    write("server_unknown_fields", session.SerializeToString() + unknown, text)

    # An enum value that this schema does not name: Protobuf keeps the number; so does its JSON.
    newer = make("ClientFrame", type=1, business=make("Business", sequence="7"))
    newer.business.type = 999
    newer.business.request.SetInParent()
    write("client_unknown_enum", newer.SerializeToString(), to_json(newer))


if __name__ == "__main__":
    main()
