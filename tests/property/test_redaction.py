"""Whatever a password is made of, it does not come through."""

from hypothesis import assume, given
from hypothesis import strategies as st

from trainable.redaction import is_redacted, redacted

# All that can be typed; letters that the rest of the URIs below does not have, so that finding them means a leak.
passwords = st.text("XYZ0189 !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", min_size=3).filter(lambda text: any(c in "XYZ" for c in text))  # fmt: skip  # noqa: E501


def letters(text):
    return set(text) & set("XYZ")


@given(passwords, st.sampled_from(["{}", "sync needs MLflow at {}; got request to {} failed", "--set tracking.uri={}"]))
def test_a_password_of_a_user_is_gone(password, sentence):
    assume("://" not in password)
    shown = redacted(sentence.replace("{}", f"postgresql://me:{password}@host:5432/db"))
    assert letters(shown) == set()
    assert shown == sentence.replace("{}", "postgresql://me:***@host:5432/db")
    assert redacted(shown) == shown
    assert is_redacted(shown)


@given(passwords.filter(lambda text: not set(text) & {" ", "&"}), st.sampled_from(["password", "PASSWD", "sslpassword", "token", "pass"]))  # fmt: skip  # noqa: E501
def test_a_password_among_the_parameters_is_gone(password, name):
    assume("://" not in password)
    shown = redacted(f"http://me@host:5000/db?a=b&{name}={password}&c=d")
    assert shown == f"http://me@host:5000/db?a=b&{name}=***&c=d"
