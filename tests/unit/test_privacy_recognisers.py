"""Each recogniser by table: what it finds and what it leaves, with vectors from the documents that define the forms.

Sources: card numbers are the payment networks' published test numbers (Stripe, Adyen and PayPal document them); IBANs are the examples of
SWIFT's IBAN Registry; resident numbers: the example of GB 11643-1999 and numbers with computed check characters; tokens: the examples
of the vendors' documentation, or made up in the documented form.
"""

import pytest

from modelward_runtime.privacy.pii import scan
from modelward_runtime.privacy.pii.scan import Kind

JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"

FOUND: list[tuple[Kind, str, str, str]] = [
    ("Email", "plain", "write to john.doe@example.com, please", "john.doe@example.com"),
    ("Email", "plus and subdomains", "a+b@mail.example.co.uk.", "a+b@mail.example.co.uk"),
    ("Email", "in angle brackets", "Jo <jo@example.org>", "jo@example.org"),
    ("Email", "as a parameter", "?user=jo@example.org&x=1", "user=jo@example.org"),
    ("Email", "internationalised", "δοκιμή@παράδειγμα.δοκιμή", "δοκιμή@παράδειγμα.δοκιμή"),
    ("Email", "punycode", "x@xn--e1afmkfd.xn--p1ai", "x@xn--e1afmkfd.xn--p1ai"),
    ("Email", "full width", "ｊｏ＠ｅｘａｍｐｌｅ．ｃｏｍ", "ｊｏ＠ｅｘａｍｐｌｅ．ｃｏｍ"),
    ("Email", "zero width inside", "jo\u200b@exam\u00adple.com", "jo\u200b@exam\u00adple.com"),
    ("Email", "a Cyrillic o", "jоhn@example.com", "jоhn@example.com"),
    ("Email", "in Chinese text", "请写信给jo@example.com谢谢", "请写信给jo@example.com谢谢"),
    ("Email", "in italics", "write to _jo@example.com_, please", "jo@example.com"),
    ("Email", "before an underscore", "jo@example.com_2", "jo@example.com"),
    ("Email", "before a number", "jo@example.com2024", "jo@example.com"),
    ("Email", "before a hyphen and more", "jo@example.com-old", "jo@example.com"),
    ("Email", "a label that ends in digits", "jo@example.com2024.org", "jo@example.com2024.org"),
    ("Email", "an underscore for a name", "_@example.com", "_@example.com"),
    ("Email", "underscores in the name", "__jo_do@example.com", "jo_do@example.com"),
    ("Email", "before a card", "jo@example.com4111111111111111", "jo@example.com"),
    ("Phone", "E.164", "call +14155552671 now", "+14155552671"),
    ("Phone", "E.123 with spaces", "+49 30 901820", "+49 30 901820"),
    ("Phone", "with a trunk zero in brackets", "+44 (0)20 7946 0958", "+44 (0)20 7946 0958"),
    ("Phone", "00 prefix", "0049 30 901820", "0049 30 901820"),
    ("Phone", "NANP with brackets", "(415) 555-2671", "(415) 555-2671"),
    ("Phone", "NANP with dots", "415.555.2671", "415.555.2671"),
    ("Phone", "NANP with 1", "1-800-555-0199", "1-800-555-0199"),
    ("Phone", "Chinese mobile", "电话13812345678。", "13812345678"),
    ("Phone", "Chinese mobile in groups", "138 1234 5678", "138 1234 5678"),
    ("Phone", "London", "020 7946 0958", "020 7946 0958"),
    ("Phone", "Berlin", "030/9018200", "030/9018200"),
    ("Phone", "French pairs", "01 23 45 67 89", "01 23 45 67 89"),
    ("Phone", "Tokyo", "03-1234-5678", "03-1234-5678"),
    ("Phone", "Beijing", "010-12345678", "010-12345678"),
    ("Phone", "Arabic-Indic digits", "+٤٤ ٢٠ ٧٩٤٦ ٠٩٥٨", "+٤٤ ٢٠ ٧٩٤٦ ٠٩٥٨"),
    ("PaymentCard", "Visa", "4242424242424242", "4242424242424242"),
    ("PaymentCard", "Visa in groups", "card 4242 4242 4242 4242, thanks", "4242 4242 4242 4242"),
    ("PaymentCard", "Visa of 13 digits", "4222222222222", "4222222222222"),
    ("PaymentCard", "Mastercard", "5555-5555-5555-4444", "5555-5555-5555-4444"),
    ("PaymentCard", "Mastercard of the 2 series", "2223003122003222", "2223003122003222"),
    ("PaymentCard", "American Express", "3782 822463 10005", "3782 822463 10005"),
    ("PaymentCard", "Discover", "6011111111111117", "6011111111111117"),
    ("PaymentCard", "Diners Club", "30569309025904", "30569309025904"),
    ("PaymentCard", "JCB", "3530111333300000", "3530111333300000"),
    ("PaymentCard", "UnionPay", "6200000000000005", "6200000000000005"),
    ("PaymentCard", "followed by its date", "4242 4242 4242 4242 12/27 123", "4242 4242 4242 4242"),
    ("PaymentCard", "full width", "４２４２４２４２４２４２４２４２", "４２４２４２４２４２４２４２４２"),
    ("PaymentCard", "Devanagari", "४२४२४२४२४२४२४२४२", "४२४२४२४२४२४२४२४२"),
    ("PaymentCard", "mathematical bold", "𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐", "𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐"),
    ("PaymentCard", "zero width between", "4242\u200b4242\u20604242\ufeff4242", "4242\u200b4242\u20604242\ufeff4242"),
    ("PaymentCard", "combining marks", "4\u0332242424242424242", "4\u0332242424242424242"),
    ("PaymentCard", "circled tens", "42424242424242④②", "42424242424242④②"),
    ("PaymentCard", "unusual hyphens", "4242‐4242‑4242–4242", "4242‐4242‑4242–4242"),
    ("PaymentCard", "a NUL between", "42424242\x0042424242", "42424242\x0042424242"),
    ("PaymentCard", "in Chinese text", "卡号4242424242424242谢谢", "4242424242424242"),
    ("PaymentCard", "right behind an address", "jo@example.com4111111111111111", "4111111111111111"),
    ("PaymentCard", "right behind an address, in groups", "_jo@example.com4111-1111-1111-1111_", "4111-1111-1111-1111"),
    ("IBAN", "Germany", "DE89370400440532013000", "DE89370400440532013000"),
    ("IBAN", "Great Britain, grouped", "GB29 NWBK 6016 1331 9268 19", "GB29 NWBK 6016 1331 9268 19"),
    ("IBAN", "Norway, the shortest", "NO9386011117947.", "NO9386011117947"),
    ("IBAN", "Malta, of 31", "MT84MALT011000012345MTLCAST001S", "MT84MALT011000012345MTLCAST001S"),
    ("IBAN", "small letters", "fr1420041010050500013m02606", "fr1420041010050500013m02606"),
    ("IBAN", "behind a word", "IBAN: NL91 ABNA 0417 1643 00 thanks", "NL91 ABNA 0417 1643 00"),
    ("IBAN", "a Cyrillic E", "DЕ89370400440532013000", "DЕ89370400440532013000"),
    ("CNResidentID", "the example of GB 11643", "11010519491231002X", "11010519491231002X"),
    ("CNResidentID", "with a small x", "身份证11010519491231002x。", "11010519491231002x"),
    ("CNResidentID", "with a digit", "number 110101199003077758.", "110101199003077758"),
    ("CNResidentID", "in groups", "110105 19491231 002X", "110105 19491231 002X"),
    ("IPAddress", "IPv4", "from 203.0.113.77.", "203.0.113.77"),
    ("IPAddress", "IPv4 with a port", "10.0.0.1:8080", "10.0.0.1"),
    ("IPAddress", "IPv6", "2001:db8:85a3::8a2e:370:7334", "2001:db8:85a3::8a2e:370:7334"),
    ("IPAddress", "IPv6 in full", "[2001:0db8:0000:0000:0000:ff00:0042:8329]", "2001:0db8:0000:0000:0000:ff00:0042:8329"),
    ("IPAddress", "IPv6 with a zone", "fe80::1%eth0", "fe80::1"),
    ("IPAddress", "mapped IPv4", "::ffff:192.0.2.128", "::ffff:192.0.2.128"),
    ("IPAddress", "loopback", "at ::1 it", "::1"),
    ("Credential", "AWS", "id AKIAIOSFODNN7EXAMPLE end", "AKIAIOSFODNN7EXAMPLE"),
    ("Credential", "JWT (RFC 7519)", f"t {JWT} t", JWT),
    ("Credential", "PEM with headers", f"a\n{PEM}\nb", PEM),
    ("Credential", "PEM cut short", "-----BEGIN PRIVATE KEY-----\nMIIE", "-----BEGIN PRIVATE KEY-----\nMIIE"),
    ("Credential", "GitHub", "ghp_" + "aB3" * 12, "ghp_" + "aB3" * 12),
    ("Credential", "GitHub, fine-grained", "github_pat_" + "aB3_" * 12, "github_pat_" + "aB3_" * 12),
    ("Credential", "Slack", "xoxb-123456789012-abcdefABCDEF", "xoxb-123456789012-abcdefABCDEF"),
    ("Credential", "Google", "AIza" + "Sy0-_" * 7, "AIza" + "Sy0-_" * 7),
    ("Credential", "Stripe", "sk_live_" + "4eC39HqLyjWDarjtT1", "sk_live_4eC39HqLyjWDarjtT1"),
    ("Credential", "OpenAI", "sk-proj-abc123abc123abc123abc123", "sk-proj-abc123abc123abc123abc123"),
    ("Credential", "password=", "user=jo password=hunter22 x", "password=hunter22"),
    ("Credential", "JSON", '{"client_secret": "s3cr3t value"}', 'secret": "s3cr3t value"'),
    ("Credential", "a name with more", "DB_PASSWORD_PROD := 'a b c d'", "PASSWORD_PROD := 'a b c d'"),
    ("Credential", "an API key", "X-API-Key: 0123456789abcdef", "-Key: 0123456789abcdef"),
    ("Credential", "Bearer", "Authorization: Bearer abcdefghijklmnopqrst", "Bearer abcdefghijklmnopqrst"),
    ("Credential", "in a URL", "postgres://app:s3cret@db/x", "://app:s3cret@"),
]  # fmt: skip

LEFT: list[tuple[Kind, str, str]] = [
    ("Email", "a handle", "thanks @john and @example.com"),
    ("Email", "no top level", "root@localhost"),
    ("Email", "a numeric last label", "a@b.c1 a@1.2.3.4"),
    ("Email", "a decorator", "x = 1 @ app.route"),
    ("Phone", "a date and a time", "2024-11-25 12:30:45 and 05/06/2024 10:30"),
    ("Phone", "an amount", "1,234,567.89 and 0.12345678"),
    ("Phone", "an order number", "order 4155552671"),
    ("Phone", "inside a longer number", "9138123456789"),
    ("PaymentCard", "a wrong check digit", "4242 4242 4242 4243"),
    ("PaymentCard", "no issuer", "9000000000000001 1234567812345670"),
    ("PaymentCard", "a fraction", "0.4242424242424242 4242424242424242.5"),
    ("PaymentCard", "part of a longer number", "14242424242424242424242"),
    ("PaymentCard", "part of a hexadecimal number", "a4242424242424242f"),
    ("PaymentCard", "numbers and a date that add up", "23 45 67 89 2024-01-01"),
    ("IBAN", "a wrong check", "DE88370400440532013000"),
    ("IBAN", "too short", "DE8937040044053201300"),
    ("IBAN", "too long", "DE893704004405320130001"),
    ("IBAN", "no such country", "XX89370400440532013000"),
    ("IBAN", "the end of a word", "CODE89370400440532013000"),
    ("CNResidentID", "a wrong check", "110105194912310021"),
    ("CNResidentID", "born in 1880", "440524188001010014"),
    ("CNResidentID", "no such day", "11010519490231002X"),
    ("CNResidentID", "no such province", "99010519491231002X"),
    ("CNResidentID", "nineteen digits", "1101051949123100211"),
    ("IPAddress", "over 255", "256.1.1.1"),
    ("IPAddress", "five parts", "1.2.3.4.5"),
    ("IPAddress", "a time", "12:30:45"),
    ("IPAddress", "a MAC address", "00:1a:2b:3c:4d:5e"),
    ("IPAddress", "program text", "std::vector<int> a::b Foo::Bar"),
    ("IPAddress", "in a word", "v1.2.3.4 x2001:db8::1"),
    ("Credential", "prose", "The password is required. Token ring, secret garden: a key question."),
    ("Credential", "a placeholder", "password: ${PASSWORD} token=<TOKEN> secret: null"),
    ("Credential", "a public key", "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"),
    ("Credential", "a word that begins like one", "eyJust xoxo sk-learn AKIArea ghp_short task-0123456789abcdef0123"),
    ("Credential", "a URL without a password", "https://user@example.com/a:b https://example.com:8080/"),
]  # fmt: skip


def found(kind: Kind, text: str) -> list[str]:
    return [text[one.start : one.end] for one in scan.resolve(scan.find([text], [kind]))]


@pytest.mark.parametrize(("kind", "reason", "text", "expected"), FOUND, ids=[f"{row[0]}-{row[1]}" for row in FOUND])
def test_found(kind: Kind, reason: str, text: str, expected: str) -> None:
    assert [expected] == found(kind, text), reason


@pytest.mark.parametrize(("kind", "reason", "text"), LEFT, ids=[f"{row[0]}-{row[1]}" for row in LEFT])
def test_left(kind: Kind, reason: str, text: str) -> None:
    assert [] == found(kind, text), reason
