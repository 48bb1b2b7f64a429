//! How a file is written: encodings, ends of lines, braces, quotes, templates, size.

use super::{GOOD, Odd, refused, rs, runs, tcp, top, vs};

pub(super) fn cases() -> Vec<Odd> {
    let mut all = spaces_and_encodings();
    all.extend(braces_and_quotes());
    all.extend(templates_and_leftovers());
    all
}

fn spaces_and_encodings() -> Vec<Odd> {
    let nul = "is not a text file";
    vec![
        runs("plain", GOOD, 0, ""),
        runs("no end of the last line", GOOD.trim_end(), 0, ""),
        runs("tabs", GOOD.replace("    ", "\t").replace(" ", "\t"), 0, ""),
        runs("form feeds and vertical tabs", GOOD.replace("    ", "\x0b\x0c"), 0, ""),
        runs("no indentation", GOOD.replace("    ", ""), 0, ""),
        runs("spaces behind lines", GOOD.replace('\n', "   \t\n"), 0, ""),
        runs("empty lines everywhere", GOOD.replace('\n', "\n\n\n"), 0, ""),
        runs("crlf", GOOD.replace('\n', "\r\n"), 0, ""),
        runs("crlf and lf mixed", GOOD.replacen('\n', "\r\n", 4), 0, ""),
        runs("crcrlf", GOOD.replace('\n', "\r\r\n"), 0, ""),
        refused("cr alone", GOOD.replace('\n', "\r"), 2, "a line ends with a carriage return alone"),
        refused("cr within a line", rs("weight 1\rinhibit_on_failure"), 1, "carriage return alone").and(1),
        runs("cr at the end of the file", format!("{GOOD}\r"), 0, ""),
        runs("byte order mark", format!("\u{feff}{GOOD}"), 1, "begins with a byte order mark"),
        runs("byte order mark and crlf", format!("\u{feff}{}", GOOD.replace('\n', "\r\n")), 1, "byte order"),
        runs("two byte order marks", format!("\u{feff}\u{feff}{GOOD}"), 2, "U+FEFF"),
        runs("byte order mark in the middle", vs("\u{feff}quorum 1"), 1, "U+FEFF"),
        runs("no-break spaces", GOOD.replace("    ", "\u{a0}\u{a0}"), 1, "U+00A0"),
        runs("no-break space between words", rs("weight\u{a0}1"), 1, "no-break space (U+00A0)"),
        runs("wide space", rs("weight\u{3000}1"), 1, "wide space"),
        runs("zero width space", rs("weight\u{200b} 1"), 1, "U+200B"),
        runs("thin space and next line", rs("weight\u{2009}1\u{85}"), 1, "2 of them in this file"),
        runs("no-break space in a comment", rs("weight 1 # a\u{a0}b"), 0, ""),
        runs("no-break space in quotes", top("global_defs {\nrouter_id \"a\u{a0}b\"\n}"), 0, ""),
        refused(
            "latin 1 in a value",
            [b"global_defs {\nrouter_id caf\xe9\n}\n", GOOD.as_bytes()].concat(),
            1,
            "this word is not UTF-8",
        ),
        runs("latin 1 in a comment", [b"# caf\xe9\n", GOOD.as_bytes()].concat(), 0, ""),
        runs("gbk in a comment", [b"# \xb8\xba\xd4\xd8\n", GOOD.as_bytes()].concat(), 0, ""),
        runs("chinese comments", rs("weight 1 # 权重"), 0, ""),
        refused("comment without its sign", rs("weight 1\n权重"), 1, "a comment"),
        refused("utf-16", GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(), 1, nul),
        refused(
            "utf-16 with its mark",
            [0xff, 0xfe]
                .into_iter()
                .chain(GOOD.encode_utf16().flat_map(u16::to_le_bytes))
                .collect::<Vec<u8>>(),
            1,
            nul,
        ),
        refused("a nul", rs("weight\u{0}1"), 1, nul),
        refused("a nul in a comment", rs("# \u{0}"), 1, nul),
        refused("nothing but nuls", vec![0; 4096], 1, nul),
        refused("an executable", b"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00", 1, nul),
        refused("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", 1, nul),
        runs("other control characters", rs("\x01weight\x021\x1f"), 0, ""),
        runs("empty", "", 1, "there is no virtual server"),
        runs("a byte order mark alone", "\u{feff}", 2, "there is no virtual server"),
        runs("white space alone", " \t\r\n \n", 1, "there is no virtual server"),
        runs("comments alone", "# a\n! b\n  # c", 1, "there is no virtual server"),
        runs("a long comment", top(&format!("# {}", "x".repeat(1 << 20))), 0, ""),
        runs("a long value", vs(&format!("persistence_timeout 5 {}", "9".repeat(100_000))), 1, "surplus"),
        runs("a long number", rs(&format!("weight {}", "9".repeat(100_000))), 1, " ... "),
        refused("a long word", rs(&"weight".repeat(100_000)), 1, "is not a keyword of real_server"),
        runs("a line of many statements", "global_defs { router_id a\n}\n".to_owned() + GOOD, 0, ""),
        refused("a line of many braces", "{".repeat(10_000), 1, "`{` without a keyword"),
        refused("a line of closing braces", format!("{}\n{GOOD}", "}".repeat(20)), 1, "closes nothing"),
    ]
}

fn braces_and_quotes() -> Vec<Odd> {
    vec![
        runs("glued braces", GOOD.replace(" {", "{"), 0, ""),
        runs("glued closing braces", GOOD.replace("3\n        }\n    }\n}", "3}}}"), 0, ""),
        runs("braces on their own lines", GOOD.replace(" {", "\n{"), 0, ""),
        runs(
            "braces after an empty line and a comment",
            GOOD.replace(" {", "\n\n# here\n{"),
            0,
            "",
        ),
        runs(
            "a block on one line",
            rs("").replace(
                "TCP_CHECK {\n            connect_timeout 3\n        }",
                "TCP_CHECK { connect_timeout 3 }",
            ),
            0,
            "",
        ),
        runs("an empty block", top("global_defs {}"), 0, ""),
        runs("an empty block glued", top("global_defs{}"), 0, ""),
        runs("two statements on one line", rs("weight 1 inhibit_on_failure"), 1, "surplus"),
        refused(
            "a brace missing at the end",
            GOOD.trim_end().trim_end_matches('}'),
            1,
            "the block of `virtual_server` is never closed",
        ),
        refused("a brace missing in the middle", GOOD.replacen("        }\n", "", 1), 1, "never closed"),
        refused("an opening brace missing", GOOD.replace("TCP_CHECK {", "TCP_CHECK"), 1, "needs a block"),
        refused("a brace too many", format!("{GOOD}}}\n"), 1, "`}` closes nothing"),
        refused("a brace without keyword", top("{\nrouter_id a\n}"), 1, "`{` without a keyword before it"),
        refused("two opening braces", GOOD.replace("TCP_CHECK {", "TCP_CHECK {{"), 1, "`{` without a keyword"),
        refused("parentheses for braces", top("global_defs (\nrouter_id a\n)"), 2, "global_defs").and(1),
        refused("a full-width brace", GOOD.replace("TCP_CHECK {", "TCP_CHECK ｛"), 1, "write `{`"),
        refused("a semicolon behind a value", GOOD.replace("rr\n", "rr;\n"), 1, "`rr;`"),
        refused("an equals sign", rs("weight = 1"), 1, "`=`").and(1),
        refused("an equals sign glued", rs("weight=1"), 1, "weight=1"),
        refused("a colon", rs("weight: 1"), 1, "write `weight`, and its value"),
        refused("an open quote", top("global_defs {\nrouter_id \"a\n}"), 1, "this quote is never closed"),
        refused("an open quote swallows the brace", top("global_defs {\nrouter_id \"a }"), 1, "never closed"),
        runs("quoted values", GOOD.replace("rr", "\"rr\"").replace(" 80", " \"80\""), 0, ""),
        runs("a quoted keyword", rs("\"weight\" 1"), 0, ""),
        refused("single quotes", GOOD.replace("rr", "'rr'"), 1, "'rr'"),
        refused("typographic quotes", GOOD.replace("rr", "“rr”"), 1, "“rr”").and(1),
        runs("a brace in quotes", top("global_defs {\nrouter_id \"a { b } # !\"\n}"), 0, ""),
        refused("an empty quoted value", top("global_defs {\nrouter_id \"\"\n}"), 1, "router_id"),
        runs("quotes glued to a word", top("global_defs {\nrouter_id a\"b\"\n}"), 1, "surplus"),
        refused("thirty-three blocks deep", "a {\n".repeat(33) + &"}\n".repeat(33), 2, "deeper than 32"),
        runs(
            "an instance on one line",
            "vrrp_instance a { interface eth0\n virtual_router_id 1 }\n",
            1,
            "has no address",
        ),
        refused(
            "an instance whose address lost its block",
            top("vrrp_instance a {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress 192.0.2.1\n}"),
            1,
            "`virtual_ipaddress` needs a block",
        ),
        refused(
            "a template's number",
            top("vrrp_instance a {\ninterface eth0\nvirtual_router_id {{ id }}\n}"),
            1,
            "`virtual_router_id` has no block",
        ),
        runs(
            "two names of the same sync group member",
            top("vrrp_instance a {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.10\n}\n}\nvrrp_sync_group g {\ngroup {\na\n}\n}"),
            1,
            "has one instance",
        ),
        refused(
            "a route of another program's words",
            top("static_routes {\nroute add default gw 192.0.2.1\n}"),
            1,
            "`add` is not a word of a route",
        ),
        refused(
            "a password in the wrong place is not shown",
            top("vrrp_instance a {\ninterface eth0\nvirtual_router_id 1\nauth_pass geheim geheim\nvirtual_ipaddress {\n192.0.2.10\n}\nfoo_bar_baz\n}"),
            1,
            "`auth_pass` is not a keyword of vrrp_instance",
        )
        .and(1),
        runs(
            "blocks deep below what is ignored",
            top(&("track_group a {\n".to_owned() + &"b {\n".repeat(20) + &"}\n".repeat(21))),
            1,
            "`track_group a` is ignored",
        ),
    ]
}

fn templates_and_leftovers() -> Vec<Odd> {
    vec![
        refused("jinja for a value", vs("quorum {{ quorum }}"), 1, "{"),
        refused(
            "jinja around statements",
            top("{% for s in servers %}\n{% endfor %}"),
            1,
            "`{` without a keyword",
        ),
        refused("jinja for an address", GOOD.replace("192.0.2.11", "{{ server }}"), 2, "{"),
        refused("shell variable in braces", GOOD.replace("192.0.2.11", "${SERVER}"), 2, "${SERVER}"),
        refused("shell variable", GOOD.replace("192.0.2.11", "$SERVER"), 1, "$SERVER").and(1),
        refused(
            "shell variable with a default",
            GOOD.replace("192.0.2.11", "${SERVER:-192.0.2.11}"),
            3,
            "`$` is not an IP address",
        ),
        refused("windows variable", GOOD.replace("192.0.2.11", "%SERVER%"), 1, "%SERVER%"),
        refused("a percent template", rs("weight %WEIGHT%"), 1, "%WEIGHT%"),
        refused("erb", rs("weight <%= @weight %>"), 1, "<%=").and(1),
        refused("at signs", rs("weight @WEIGHT@"), 1, "@WEIGHT@"),
        refused("angle brackets", GOOD.replace("192.0.2.10", "<VIP>"), 1, "<VIP>"),
        refused("command substitution", GOOD.replace("192.0.2.10", "$(hostname)"), 1, "$(hostname)"),
        refused("a merge conflict", top("<<<<<<< HEAD\n=======\n>>>>>>> main"), 3, "<<<<<<<"),
        refused("a diff", top("+global_defs {\n+}"), 1, "did you mean `global_defs`?"),
        refused("a markdown fence", format!("```\n{GOOD}```\n"), 2, "```"),
        refused("a prompt", top("root@lb1:~# cat keepalived.conf"), 1, "root@lb1:~"),
        refused("line numbers", top("1 global_defs {\n2 }"), 1, "`1` is not a keyword"),
        refused("an ellipsis", rs("..."), 1, "`...`"),
        refused("a c++ comment", rs("// weight"), 1, "a comment"),
        refused("a semicolon comment", rs("; weight 1"), 1, "a comment"),
        refused("a c comment", top("/* nothing */"), 1, "/*"),
        refused("an sql comment", top("-- nothing"), 1, "--"),
        runs("a comment in the middle of a word", rs("weight 1#00"), 0, ""),
        runs("an exclamation mark in the middle of a word", rs("weight 1!00"), 0, ""),
        refused("a comment before the brace", GOOD.replace("TCP_CHECK {", "TCP_CHECK # {"), 1, "TCP_CHECK"),
        runs("a comment behind the brace", GOOD.replace("TCP_CHECK {", "TCP_CHECK { # {"), 0, ""),
        runs("a comment glued to a brace", GOOD.replace("TCP_CHECK {", "TCP_CHECK {#x"), 0, ""),
        runs("an escaped sign of a comment", top("global_defs {\nrouter_id a\\#b\n}"), 0, ""),
        runs("a backslash at the end of a line", top("global_defs {\nrouter_id a\\\n}"), 0, ""),
        refused("a line continued as in a shell", vs("lvs_sched \\\nrr"), 2, "`rr`"),
        refused("html", "<html><body>404</body></html>\n", 1, "<html>"),
        refused("json", "{\"virtual_servers\": []}\n", 1, "`{` without a keyword before it"),
        refused("yaml in a conf", "virtual_servers:\n  - address: 192.0.2.10:80\n", 2, "virtual_servers:"),
        refused("haproxy", "frontend web\n    bind *:80\n", 2, "frontend"),
        refused("nginx", "upstream web {\n    server 192.0.2.11:80;\n}\n", 1, "upstream"),
        refused("ipvsadm -Sn", "-A -t 192.0.2.10:80 -s rr\n", 1, "-A"),
        refused(
            "a statement outside of its block",
            format!("{GOOD}real_server 192.0.2.12 80 {{\n}}\n"),
            1,
            "look for a missing or surplus brace above",
        ),
        refused("a checker below another", tcp("HTTP_GET {\n}"), 1, "HTTP_GET"),
    ]
}
