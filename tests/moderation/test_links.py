import pytest

from pipeline.moderation import LinkPolicy, Rules
from pipeline.moderation.domains import shorteners
from pipeline.moderation.links import links


def hosts(text: str) -> list[tuple[str, str]]:
    return [(link.host, text[link.start : link.end]) for link in links(text)]


def kinds(policy: LinkPolicy, text: str) -> list[tuple[str, str, str]]:
    return [(hit.kind, hit.term, hit.severity) for hit in Rules((), policy).find(text)]


@pytest.mark.parametrize(
    ("text", "host", "written"),
    [
        ("go to example.com now", "example.com", "example.com"),
        ("https://www.Example.co.uk:8080/a?b#c", "www.example.co.uk", "www.Example.co.uk"),
        ("http://user:pass@example.com/", "example.com", "example.com"),
        ("evil[.]com", "evil.com", "evil[.]com"),
        ("evil (dot) com", "evil.com", "evil (dot) com"),
        ("hxxps://evil[.]com/x", "evil.com", "evil[.]com"),
        ("http://%65vil.com", "evil.com", "%65vil.com"),
        ("evil%2Ecom", "evil.com", "evil%2Ecom"),
        ("http://evi%6c%2e%63o%6D/x", "evil.com", "evi%6c%2e%63o%6D"),
        ("http://b%C3%BCcher.de", "xn--bcher-kva.de", "b%C3%BCcher.de"),
        ("evil dot com", "evil.com", "evil dot com"),
        ("at www DOT evil Dot co dot uk.", "www.evil.co.uk", "www DOT evil Dot co dot uk"),
        ("ｅｖｉｌ．ｃｏｍ", "evil.com", "ｅｖｉｌ．ｃｏｍ"),
        ("ev\u200bil。com", "evil.com", "ev\u200bil。com"),
        ("bücher.de", "xn--bcher-kva.de", "bücher.de"),
        ("xn--bcher-kva.de", "xn--bcher-kva.de", "xn--bcher-kva.de"),
        ("http://192.168.0.1/a", "192.168.0.1", "192.168.0.1"),
        ("visit CASINO.IT!", "casino.it", "CASINO.IT"),
        ("see bit.ly/3x.", "bit.ly", "bit.ly"),
    ],
)
def test_a_link_is_found_however_it_is_written(text: str, host: str, written: str) -> None:
    assert hosts(text) == [(host, written)]


@pytest.mark.parametrize(
    "text",
    [
        "tomorrow.Is it",
        "end.Start",
        "Thanks.In case",
        "10.30",
        "v1.2.3",
        "at 10.am",
        "U.S.A.",
        "e.g. this",
        "…",
        "a.",
        ".com",
        "x..com",
    ],
)
def test_sloppy_writing_is_no_link(text: str) -> None:
    assert hosts(text) == []


def test_blocked_and_allowed_domains_hold_for_their_subdomains() -> None:
    policy = LinkPolicy(blocked=("evil.com", "bücher.de"), allowed=("good.evil.com",), blocked_severity="flag")
    assert kinds(policy, "evil.com www.evil.com notevil.com good.evil.com xn--bcher-kva.de/x") == [
        ("domain", "evil.com", "flag"),
        ("domain", "www.evil.com", "flag"),
        ("domain", "xn--bcher-kva.de", "flag"),
    ]


def test_dot_as_a_word_makes_a_link_of_listed_domains_only() -> None:
    policy = LinkPolicy(blocked=("evil.com",), protected=("target.com",), others="block")
    assert kinds(policy, "evil dot com") == [("domain", "evil.com", "block")]
    assert kinds(policy, "tarqet dot com") == [("look-alike", "tarqet.com", "block")]
    assert kinds(policy, "the dot com bubble, target dot com, the target dot in the middle, dot dot com, 20%65") == []


def test_only_allowed_domains_may_be_linked_to() -> None:
    policy = LinkPolicy(allowed=("shop.example",), others="block")
    assert kinds(policy, "www.shop.example, other.example; mail me@mail.example") == [
        ("link", "other.example", "block")
    ]


def test_shorteners_are_a_policy() -> None:
    assert kinds(LinkPolicy(shorteners="flag", more_shorteners=("s.example",)), "bit.ly/1 s.example/2") == [
        ("shortener", "bit.ly", "flag"),
        ("shortener", "s.example", "flag"),
    ]
    assert Rules((), LinkPolicy()).find("bit.ly/1") == []
    assert len(shorteners()) > 100


@pytest.mark.parametrize(
    "link",
    [
        "paypa1.com",
        "раураl.com",
        "xn--l-7sba6dbr.com",
        "pаypal.net",
        "paypall.com",
        "paypla.com",
        "pay-pal.com",
        "paypal-login.example",
        "https://secure.paypal.com.evil.example/x",
        "paypal.evil.example",
        "http://paypal.com@evil.example/",
        "PAYPAI.COM",
        "p\u200baypa1.com",
        "me@paypa1.com",
    ],
)
def test_look_alikes_of_a_protected_name(link: str) -> None:
    policy = LinkPolicy(protected=("paypal.com",), look_alikes="flag")
    (hit,) = Rules((), policy).find(f"log in at {link} now")
    assert (hit.kind, hit.severity, hit.folding) == ("look-alike", "flag", "looks like paypal.com")


@pytest.mark.parametrize(
    "link", ["paypal.com", "www.paypal.com/x", "papal.org", "playpen.com", "example.com", "paid.com"]
)
def test_the_protected_name_itself_and_other_names_pass(link: str) -> None:
    assert Rules((), LinkPolicy(protected=("paypal.com", "ing.it"))).find(f"see {link} there") == []


def test_rn_is_read_as_m() -> None:
    assert [hit.kind for hit in Rules((), LinkPolicy(protected=("amazon.com",))).find("arnazon.com")] == ["look-alike"]


def test_faults_of_a_policy() -> None:
    assert LinkPolicy(blocked=("evil", "ok.com"), protected=("a" * 64 + ".com",)).faults() == [
        "'evil' is no domain",
        f"'{'a' * 64}.com' is no domain",
    ]
