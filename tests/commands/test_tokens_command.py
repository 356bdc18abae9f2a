import json
import time

import broker
import pytest
from driving import Cli

from pipeline.accounts import AccountRecord, Register
from pipeline.streaming.topics import TopicNames
from pipeline.tokens import Scope, hash_token, new_token


def register(cli: Cli) -> Register:
    """What the accounts' topic tells now."""
    found = Register()
    for record in broker.read(cli.settings, TopicNames(cli.settings.kafka.topic_prefix).accounts):
        found.take(record.key, record.value)
    return found


def test_token_is_printed_once_and_only_its_hash_kept(still: Cli) -> None:
    still("account", "create", "caller")
    made = [still("account", "token", "caller").stdout.strip() for _ in range(2)]
    known = register(still)
    assert [known.by_token(token).account for token in made] == ["caller", "caller"]
    assert {token.hash for token in known.tokens("caller")} == {hash_token(token) for token in made}
    records = broker.read(still.settings, TopicNames(still.settings.kafka.topic_prefix).accounts)
    assert not any(token.encode() in (record.value or b"") for record in records for token in made)


def test_scopes_expiry_and_name_are_listed(still: Cli) -> None:
    still("account", "create", "caller")
    still("account", "token", "caller")
    still("account", "token", "caller", "--scope", "read", "--expires", "30d", "--name", "dash [board]")
    still("account", "token", "caller", "--scope", "admin", "--scope", "send", "--expires", "2999-01-01")
    usual, board, admin = still.json("account", "tokens", "caller")
    assert (usual["scopes"], usual["expiresAt"], usual["name"]) == (["read", "send"], None, "")
    assert (board["scopes"], board["name"], board["expired"]) == (["read"], "dash [board]", False)
    assert (admin["scopes"], admin["expiresAt"]) == (["admin", "send"], "2999-01-01T00:00:00.000Z")
    assert board["createdAt"] < board["expiresAt"]
    assert "dash [board]" in still("account", "tokens", "caller").stdout


def test_times_that_are_none_or_past_are_refused(still: Cli) -> None:
    for when in ("yesterday", "2020-01-01", "0d", "30", "99999999w", "-5d"):
        assert "--expires" in still.refused("account", "token", "caller", f"--expires={when}", code=2)


def test_revoked_ones_are_gone_and_the_others_stay(still: Cli) -> None:
    still("account", "create", "caller")
    secrets = [still("account", "token", "caller").stdout.strip() for _ in range(3)]
    first = register(still).by_token(secrets[0]).id
    assert "1 revoked" in still("account", "revoke", "caller", first).stdout
    assert [register(still).by_token(secret) is None for secret in secrets] == [True, False, False]
    assert first in still.refused("account", "revoke", "caller", first)
    assert "say --all" in still.refused("account", "revoke", "caller", code=2)
    assert "2 revoked" in still("account", "revoke", "caller", "--all").stdout
    assert still.json("account", "tokens", "caller") == []


def test_tokens_that_an_earlier_version_made_serve_and_can_be_revoked(still: Cli) -> None:
    (old, old_hash), (other, other_hash) = new_token(), new_token()
    record = json.dumps({"name": "elder", "createdAt": "2026-01-01T00:00:00Z", "tokens": [old_hash, other_hash]})
    topic = TopicNames(still.settings.kafka.topic_prefix).accounts
    broker.produce(still.settings, topic, [(b"elder", record.encode(), None)])
    token = register(still).by_token(old)
    assert token.allows(Scope.SEND) and token.allows(Scope.READ) and not token.allows(Scope.ADMIN)
    still("account", "revoke", "elder", token.id)
    still("account", "limit", "elder", "--messages-a-day", "5")  # writes the account's own record again
    assert register(still).by_token(old) is None
    assert register(still).by_token(other).account == "elder"


def test_a_token_of_no_account_opens_nothing() -> None:
    token, _ = new_token()
    known = Register()
    known.take(b"token/ghost/abc", json.dumps({"account": "ghost", "id": "abc", "hash": hash_token(token)}).encode())
    assert known.by_token(token) is None
    known.take(b"ghost", b'{"name": "ghost", "createdAt": ""}')
    assert known.by_token(token) is not None
    known.take(b"ghost", None)
    assert known.by_token(token) is None
    known.take(b"ghost", b'{"name": "ghost", "createdAt": ""}')
    known.take(b"token/ghost/abc", None)
    assert known.by_token(token) is None


@pytest.mark.parametrize("value", [b"{", b"[]", b'{"account": "other", "id": "abc", "hash": "h"}'])
def test_a_token_record_that_is_none_changes_nothing(value: bytes) -> None:
    known = Register()
    known.take(b"ghost", b'{"name": "ghost", "createdAt": ""}')
    known.take(b"token/ghost/abc", value)
    assert known.tokens("ghost") == []
    assert known.get("ghost") == AccountRecord("ghost", "")


def test_acts_are_told_to_the_audit_log_without_secrets(still: Cli) -> None:
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    still("account", "create", "caller")
    secret = still("account", "token", "caller", "--name", "ci").stdout.strip()
    still("account", "limit", "caller", "--price", "0.5")
    still("account", "block", "caller", "--reason", "spam")
    still("account", "unblock", "caller")
    still("account", "credit", "caller", "7", "--reference", "R", "--timeout", "0.2", code=1)
    still("lists", "add", "term", "casino")
    still("opt-outs", "add", "caller", "+393331234567")
    (token,) = still.json("account", "tokens", "caller")
    still("account", "revoke", "caller", token["id"])
    told = still.json("audit")
    assert [one["action"] for one in told] == [
        "account.create", "token.create", "account.limit", "account.block", "account.unblock", "account.credit",
        "lists.add", "opt-outs.add", "token.revoke",
    ]  # fmt: skip
    assert told[1]["details"] == {"token": token["id"], "scopes": ["read", "send"], "name": "ci"}
    assert told[5]["details"] == {"amount": "7.00", "reference": "R"}
    assert all("@" in one["actor"] for one in told)
    records = broker.read(still.settings, TopicNames(still.settings.kafka.topic_prefix).audit)
    assert not any(word in record.value for record in records for word in (secret.encode(), b"3331234567"))
    mine = still.json("audit", "--account", "caller", "--since", began)
    assert [one["action"] for one in mine] == [one["action"] for one in told if one["action"] != "lists.add"]
    assert still.json("audit", "--since", "2999-01-01") == []
    assert "account.block" in still("audit").stdout
