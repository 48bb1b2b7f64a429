//! What keepalived's language does beyond words: includes, definitions, conditions, repetitions.

use super::{GOOD, Odd, refused, rs, runs, top, vs};

pub(super) fn cases() -> Vec<Odd> {
    let mut all = includes();
    all.extend(definitions());
    all.extend(conditions_and_repetitions());
    all
}

fn includes() -> Vec<Odd> {
    vec![
        runs("an include", top("include conf.d/a.conf"), 0, ""),
        runs("an include in quotes", top("include \"conf.d/a.conf\""), 0, ""),
        runs("an include by its whole path", top("include /etc/keepalived/conf.d/a.conf"), 0, ""),
        runs("an include by a pattern", top("include conf.d/*.conf"), 0, ""),
        runs(
            "an include within a block",
            GOOD.replace(
                "        TCP_CHECK {\n            connect_timeout 3\n        }",
                "        include checks.conf",
            ),
            0,
            "",
        ),
        refused("an include of a missing file", top("include missing.conf"), 1, "there is no such file"),
        refused("an include of a directory", top("include conf.d"), 1, "is a directory"),
        refused("an include that is not permitted", top("include secret.conf"), 1, "not permitted"),
        refused("an include of itself", top("include keepalived.conf"), 1, "includes itself"),
        refused("an include in a circle", top("include loop.conf"), 1, "loop.conf: includes itself"),
        refused("an include without a file", top("include"), 1, "`include` needs a value"),
        runs("a pattern that matches nothing", top("include nothing.d/*.conf"), 1, "matches no file"),
        refused("a pattern that must match", top("includea nothing.d/*.conf"), 1, "matches no file"),
        refused("an include of nonsense", top("include conf.d/b.txt"), 1, "conf.d/b.txt:1:1"),
        refused("an include that leaves a block open", top("include open.conf"), 1, "open.conf:1:30"),
        refused(
            "an include in the middle of a line",
            vs("quorum 1 } include a.conf"),
            2,
            "`include` must begin its line",
        ),
        refused("an include in capitals", top("INCLUDE conf.d/a.conf"), 1, "INCLUDE"),
        runs("an include as in c", top("#include <a>\n@include a"), 0, ""),
        refused("a path as in windows", top("include C:\\keepalived\\a.conf"), 1, "there is no such file"),
    ]
}

fn definitions() -> Vec<Odd> {
    let doubling: String =
        (1..40).map(|i| format!("$A{i}=${{A{0}}}${{A{0}}}\n", i - 1)).collect::<String>() + "quorum $A39";
    vec![
        runs("a definition", format!("$VIP=192.0.2.10\n{}", GOOD.replace("192.0.2.10", "$VIP")), 0, ""),
        runs("a definition in braces", format!("$NET=192.0.2\n{}", GOOD.replace("192.0.2", "${NET}")), 0, ""),
        refused("a definition with spaces around its sign", top("$A = 1"), 1, "`$A` is not a keyword").and(1),
        runs("an unused definition", top("$UNUSED=1"), 0, ""),
        runs("a definition made twice", format!("$Q=1\n$Q=1\n{}", vs("quorum $Q")), 0, ""),
        runs("a definition of nothing", format!("$Q=\n{}", rs("weight 1 $Q")), 0, ""),
        runs(
            "a definition of several lines",
            format!("$CHECK= \\\n weight 1 \\\n inhibit_on_failure\n{}", rs("$CHECK")),
            0,
            "",
        ),
        runs("a definition of a block", format!("$C=notify_up {{ \\\n a\n{}", top("")), 0, ""),
        runs("a definition that is used before it ends", top("$A= \\\n weight 1 \\\n"), 0, ""),
        refused("a definition of itself", format!("$A=$A\n{}", rs("weight $A")), 1, "`$A`"),
        refused("two definitions of each other", format!("$A=$B\n$B=$A\n{}", rs("weight $A")), 1, "$"),
        refused("definitions that double", format!("$A0=11111111\n{}", vs(&doubling)), 1, "longer than"),
        refused("an undefined definition", rs("weight $W"), 1, "`$W`").and(1),
        refused("a definition made too late", format!("{}$W=1\n", rs("weight $W")), 1, "`$W`").and(1),
        refused(
            "a definition in the wrong case",
            format!("$W=1\n{}", rs("weight $w")),
            1,
            "did you mean `$W`?",
        )
        .and(1),
        refused(
            "a wrong word in a definition",
            format!("$X=wieght 1\n{}", rs("$X")),
            1,
            "`$X` is defined here",
        ),
        refused("a definition as in make", rs("weight $(W)"), 1, "$(W)"),
        refused("a definition that is never closed", rs("weight ${W"), 1, "`weight` has no block"),
        refused("a definition without its dollar", top("VIP=192.0.2.10"), 1, "VIP=192.0.2.10"),
        runs("a dollar alone", top("global_defs {\nrouter_id a$\n}"), 0, ""),
        runs("a builtin", top("global_defs {\nrouter_id ${_INSTANCE}\n}"), 0, ""),
        runs("a sign of a comment by its builtin", top("global_defs {\nrouter_id a${_HASH}b\n}"), 0, ""),
        refused("an unknown builtin", top("global_defs {\nrouter_id ${_NOTHING}\n}"), 1, "_NOTHING"),
    ]
}

fn conditions_and_repetitions() -> Vec<Odd> {
    vec![
        runs("a condition that holds", rs("@here weight 1"), 0, ""),
        runs("a condition that does not hold", rs("@there wieght 1"), 0, ""),
        runs("a condition on all others", rs("@^there weight 1"), 0, ""),
        runs("a condition without a statement", rs("@here"), 0, ""),
        runs("a condition with a space", rs("@ here weight 1"), 0, ""),
        refused("a condition that keeps a brace", rs("@there {\n}"), 1, "surplus brace above"),
        runs("a repetition", top("").replace("    real_server",
            "    ~SEQ(i, 20, 22) real_server 192.0.2.$i 80 { TCP_CHECK { connect_timeout 3 } }\n    real_server"),
            0, ""),
        runs("a repetition of a list", top("").replace("    real_server",
            "    ~LST({a},{20},{22}) real_server 192.0.2.$a 80 { TCP_CHECK { connect_timeout 3 } }\n    real_server"), 0, ""),
        runs("a repetition backwards", rs("~SEQ(i,3,1) # nothing"), 0, ""),
        refused("a repetition without end", rs("~SEQ(i,1,4000000000) uthreshold $i"), 1, "more than 1000000 lines").and(1),
        refused("a repetition with a step of nothing", rs("~SEQ(i,1,0,3) weight $i"), 1, "this repetition"),
        refused("a repetition that is never closed", rs("~SEQ(i,1,3 weight $i"), 1, "this repetition"),
        refused("a repetition of words", rs("~SEQ(i,a,b) weight $i"), 1, "this repetition"),
        refused("an unknown repetition", rs("~FOR(i,1,3) weight $i"), 1, "~FOR").and(1),
        refused("a repetition that says the same server twice", vs("~SEQ(i,2) real_server 192.0.2.20 80 { }"), 1,
            "192.0.2.20"),
        refused("lists of unequal length", rs("~LST({a,b},{1}) weight $a"), 1, "this repetition"),
    ]
}
