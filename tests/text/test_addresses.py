"""Hosts of columns are those of `host_of`, row by row."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.text.addresses import domains_of, hosts_of
from gristmill.urls import domain_of, host_of

ODD = [
    "https://www.example.com/a?b", "http://Example.COM:80/", "https://u:p@h.org/x", "//h.org/x", "h.org/x",
    None, "", "http://[::1]/", "http://[::1", "http://a.b.", "http://a.b../x", "http://a.b:8x/", "http:///p",
    "ftp://x.y#z", "http://www./", "http://www.www.x/", "https://b\u00fccher.de/", "http://a b/", "x:http://a/",
    " http://lead.org/", "http://a\t.b/", "1http://x.y/", "h+t.p-2://x.y/", "HTTP://X.Y", "http://x.y?q",
    "http://x.y\\z", "http://x%41.y/", "http://a_b.c-d/", f"http://{'a' * 255}/", f"http://{'a' * 256}/",
    f"http://{'a' * 2000}/",
]  # fmt: skip


def test_odd_urls_have_the_hosts_that_the_careful_reader_says() -> None:
    column = pa.chunked_array([pa.array(ODD[:9], pa.string()), pa.array(ODD[9:], pa.string())])
    assert hosts_of(column).to_pylist() == [host_of(url) for url in ODD]
    assert domains_of(column).to_pylist() == [domain_of(url) for url in ODD]


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.none(),
            st.text(max_size=30),
            st.builds("{}{}".format, st.sampled_from(["http://", "https://www.", "ftp:/", "//"]),
                      st.text("aZ9.-_:/?#@[]%w\t\u00e9 ", max_size=14)),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_any_url_has_the_host_that_the_careful_reader_says(urls: list[str | None]) -> None:
    column = pa.array(urls, pa.large_string())
    assert hosts_of(column).to_pylist() == [host_of(url) for url in urls]
    assert domains_of(column).to_pylist() == [domain_of(url) for url in urls]
