//! Odd YAML.

use super::Odd;

const GOOD: &str = "virtual_servers:
  - address: 192.0.2.10:80
    protocol: tcp
    scheduler: rr
    forwarding: nat
    real_servers:
      - {address: 192.0.2.11:80, weight: 1, check: {type: tcp}}
";

fn runs(name: &'static str, text: impl AsRef<[u8]>, warnings: usize, phrase: &'static str) -> Odd {
    Odd { is_yaml: true, ..super::runs(name, text, warnings, phrase) }
}

fn refused(name: &'static str, text: impl AsRef<[u8]>, errors: usize, phrase: &'static str) -> Odd {
    Odd { is_yaml: true, ..super::refused(name, text, errors, phrase) }
}

fn top(text: &str) -> String {
    format!("{text}\n{GOOD}")
}

fn vs(text: &str) -> String {
    GOOD.replace("    protocol", &format!("    {text}\n    protocol"))
}

pub(super) fn cases() -> Vec<Odd> {
    let weight = |w: &str| GOOD.replace("weight: 1", &format!("weight: {w}"));
    let address = |a: &str| GOOD.replace("192.0.2.10:80", a);
    let six = |a: &str| GOOD.replace("192.0.2.10:80", a).replace("192.0.2.11:80", "\"[2001:db8::11]:80\"");
    let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
    let laughs = (1..12).map(|i| format!("x{i}: &x{i} [*x{0},*x{0},*x{0},*x{0},*x{0},*x{0}]\n", i - 1));
    vec![
        runs("yaml", GOOD, 0, ""),
        runs("yaml with crlf", GOOD.replace('\n', "\r\n"), 0, ""),
        runs("yaml with cr alone", GOOD.replace('\n', "\r"), 0, ""),
        runs("yaml with a byte order mark", format!("\u{feff}{GOOD}"), 0, ""),
        runs("yaml with its marks of a document", format!("---\n{GOOD}...\n"), 0, ""),
        runs("yaml without the last end of line", GOOD.trim_end(), 0, ""),
        runs("yaml with comments", top("# a\n"), 0, ""),
        runs(
            "json as yaml",
            "{\"virtual_servers\": [{\"address\": \"192.0.2.10:80\", \"forwarding\": \"nat\", \
             \"scheduler\": \"rr\", \"real_servers\": [{\"address\": \"192.0.2.11:80\"}]}]}",
            0,
            "",
        ),
        runs("empty yaml", "", 1, "there is no virtual server"),
        runs("yaml of comments", "# nothing\n", 1, "there is no virtual server"),
        runs("yaml of a null", "~\n", 1, "there is no virtual server"),
        runs("yaml of an empty list", "virtual_servers: []\n", 1, "there is no virtual server"),
        refused("yaml of a null for a list", "virtual_servers:\n", 1, "virtual_servers"),
        refused("yaml of a word", "hello\n", 1, "the configuration is not a mapping"),
        refused("yaml of a list", "- a\n", 1, "the configuration is not a mapping"),
        refused("yaml indented by tabs", GOOD.replace("    ", "\t"), 1, "YAML takes no tabs"),
        refused(
            "yaml indented wrongly",
            GOOD.replace("    scheduler", "   scheduler"),
            1,
            "this is not YAML",
        ),
        refused(
            "yaml with no space behind a colon",
            GOOD.replace("scheduler: rr", "scheduler:rr"),
            1,
            "not YAML",
        ),
        refused(
            "yaml of no utf-8",
            [b"global: {router_id: caf\xe9}\n", GOOD.as_bytes()].concat(),
            1,
            "not UTF-8",
        ),
        refused("yaml with a nul", top("a: \u{0}"), 1, "is not a text file"),
        refused("yaml with no-break spaces", GOOD.replace("    ", "\u{a0}\u{a0}\u{a0}\u{a0}"), 1, "not YAML"),
        runs(
            "yaml with an alias",
            "virtual_servers:\n  - address: 192.0.2.10:80\n    forwarding: nat\n    scheduler: rr\n\
             \x20   real_servers: &r\n      - {address: 192.0.2.11:80, check: {type: tcp}}\n\
             \x20 - address: 192.0.2.12:80\n    forwarding: nat\n    scheduler: rr\n    real_servers: *r\n",
            0,
            "",
        ),
        refused("yaml with an alias of nothing", weight("*nothing"), 1, "`*nothing` is not defined"),
        refused("yaml with an alias of itself", "virtual_servers: &a\n  - *a\n", 1, "stands within"),
        refused(
            "yaml of laughs",
            format!("x0: &x0 [a,a,a,a,a,a]\n{}", laughs.collect::<String>()),
            1,
            "more than 1000000 values",
        ),
        runs(
            "yaml with a merge",
            "virtual_servers:\n  - &a\n    address: 192.0.2.10:80\n    forwarding: nat\n\
             \x20   scheduler: rr\n    real_servers: [{address: 192.0.2.11:80, check: {type: tcp}}]\n\
             \x20 - {<<: *a, address: 192.0.2.12:80}\n",
            0,
            "",
        ),
        refused("yaml with a merge of a word", vs("<<: word"), 1, "`<<` takes a mapping"),
        refused("yaml with a key twice", vs("scheduler: rr"), 1, "`scheduler` is given twice"),
        refused("yaml with two documents", format!("{GOOD}---\n{GOOD}"), 1, "a second document"),
        refused("yaml with a tag", weight("!!int 1"), 1, "a tag means nothing here"),
        refused("yaml with a directive", format!("%YAML 1.2\n---\n{GOOD}"), 1, "this is not YAML"),
        refused("yaml with a key of braces", top("{{ key }}: 1"), 2, "this key is not a word"),
        refused("yaml with a template for a value", weight("{{ weight }}"), 2, "weight"),
        refused("yaml with a helm template", top("{{- if .Values.lvs }}"), 1, "not YAML"),
        refused("yaml with a shell variable", weight("${WEIGHT}"), 1, "this is not YAML"),
        refused("yaml with an open quote", weight("\"1"), 1, "this is not YAML"),
        refused("yaml with an open bracket", top("a: [1, 2"), 1, "this is not YAML"),
        refused("yaml nested deeply", deep, 1, "recursion limit"),
        runs("yaml with quoted numbers", weight("\"1\""), 0, ""),
        refused("yaml with an octal number", weight("0o17"), 1, "0o17"),
        refused("yaml with a hexadecimal number", weight("0x10"), 1, "0x10"),
        refused("yaml with a broken number", weight("1.0"), 1, "1.0"),
        refused("yaml with underscores", weight("1_000"), 1, "1_000"),
        refused("yaml with sexagesimals", weight("1:30"), 1, "1:30"),
        refused("yaml with infinity", weight(".inf"), 1, ".inf"),
        runs("yaml with leading zeros", weight("010"), 0, ""),
        refused("yaml with a negative number", weight("-1"), 1, "-1"),
        refused("yaml with a number too large", weight("4294967296"), 1, "4294967296"),
        refused("yaml with nothing for a number", weight(""), 1, "weight"),
        refused("yaml with a list for a number", weight("[1, 2]"), 1, "weight"),
        refused("yaml with a mapping for a number", weight("{a: 1}"), 1, "`weight` has no block"),
        refused("yaml with a word for a mapping", top("global: edge-1"), 1, "`global` needs a block"),
        refused("yaml with a mapping for a list", "virtual_servers:\n  a: 1\n", 2, "`a` is not a keyword"),
        runs(
            "yaml with one server for a list",
            "virtual_servers:\n  address: 192.0.2.10:80\n  forwarding: nat\n\
             \x20 scheduler: rr\n  real_servers: {address: 192.0.2.11:80, check: {type: tcp}}\n",
            0,
            "",
        ),
        runs("yaml with yes", vs("inhibit_on_failure: yes"), 0, ""),
        runs("yaml with off", vs("inhibit_on_failure: off"), 0, ""),
        refused("yaml with y", vs("inhibit_on_failure: y"), 1, "`true` or `false`"),
        refused("yaml with a one for true", vs("inhibit_on_failure: 1"), 1, "`true` or `false`"),
        refused("yaml with nothing for true", vs("inhibit_on_failure:"), 1, "needs a value"),
        runs("yaml with True", vs("inhibit_on_failure: True"), 0, ""),
        runs("yaml with ipv6 in quotes", six("\"[2001:db8::10]:80\""), 0, ""),
        refused("yaml with ipv6 without quotes", six("[2001:db8::10]:80"), 1, "goes in quotes"),
        refused("yaml with ipv6 without brackets", six("2001:db8::10:80"), 1, "2001:db8::10:80"),
        refused("yaml with an address without port", address("192.0.2.10"), 1, "port"),
        refused("yaml with a port too large", address("192.0.2.10:65536"), 1, "192.0.2.10:65536"),
        refused("yaml with a name", address("web.example.com:80"), 1, "web.example.com"),
        refused("yaml with an address in two words", address("192.0.2.10 80"), 1, "192.0.2.10 80"),
        refused(
            "yaml without a forwarding method",
            GOOD.replace("    forwarding: nat\n", ""),
            1,
            "forwarding",
        ),
        runs("yaml with times", vs("interval: 500ms"), 0, ""),
        refused("yaml with a time in days", vs("interval: 1d"), 1, "1d"),
        refused("yaml with a time of nothing", vs("interval: 0s"), 1, "0s"),
        runs("yaml with a bare time", vs("interval: 5"), 0, ""),
        refused("yaml in keepalived's words", vs("lb_algo: rr"), 1, "keepalived.conf's word"),
        refused("keepalived.conf named yaml", super::GOOD, 1, "is not a mapping"),
        refused(
            "yaml with a key of another block",
            top("scheduler: rr"),
            1,
            "it belongs in a virtual server",
        ),
        refused(
            "yaml with a key in capitals",
            GOOD.replace("scheduler", "Scheduler"),
            1,
            "did you mean `scheduler`?",
        ),
        refused(
            "yaml with a key with a hyphen",
            GOOD.replace("real_servers", "real-servers"),
            1,
            "`real_servers`",
        ),
        refused("yaml with an empty key", top("\"\": 1"), 1, "is not a keyword"),
        refused("yaml with a block of text", weight("|\n        1"), 1, "not YAML"),
        refused("yaml with an empty item", "virtual_servers:\n  -\n", 1, "an item of the list is empty"),
        refused(
            "yaml with a list in a list",
            "virtual_servers:\n  - - address: a\n",
            1,
            "a list stands within a list",
        ),
        refused(
            "yaml with a virtual server twice",
            format!("{GOOD}{}", GOOD.split_once('\n').map_or("", |s| s.1)),
            1,
            "192.0.2.10:80",
        ),
        refused("yaml with an unknown check", GOOD.replace("type: tcp", "type: tpc"), 1, "tpc"),
    ]
}
