//! The language: what text becomes which tree, and what becomes none.

use std::path::Path;

use proptest::prelude::*;

use super::diagnostic::Diagnostics;
use super::expand;
use super::files::{Files, MemoryFiles};
use super::print::Print;
use super::source::Sources;
use super::tree::Node;

#[test]
fn comments_begin_anywhere_outside_double_quotes() {
    reads("a b # c\n! d\ne#f\ng \"#h!\" i!j\nk '#' l", "a b\ne\ng \"#h!\" i\nk '\n");
    reads("a\\#b \\!c d\\\\e", "a\\#b \\!c d\\\\e\n");
}

#[test]
fn quoted_text_is_one_word_and_glued_quotes_are_words_of_their_own() {
    reads("a \"b c\" d\"e f\"g \"\"", "a \"b c\" d \"e f\" g \"\"\n");
    reads("a \"{ } $x\"", "a \"{ } $x\"\n");
}

#[test]
fn braces_stand_anywhere() {
    let wanted = "a b {\n    c d\n    e {\n    }\n    f\n}\ng\n";
    reads("a b {\nc d\ne {\n}\nf\n}\ng", wanted);
    reads("a b { c d\ne{}f}g", wanted);
    reads("a b\n\n# here it comes\n{\nc d\ne\n{\n}\nf }\ng", wanted);
    reads("a b{\r\n\tc\td\r\n\te{}\r\nf\r\n}\r\ng\r\n", wanted);
}

#[test]
fn definitions_are_replaced_when_used() {
    reads("$A=x y\nk $A", "k x y\n");
    reads("$A=$B\n$B=1\nk $A ${B}2 $A,$B", "k 1 12 1,1\n");
    reads("$A=1\nk $A\n$A=2\nk $A", "k 1\nk 2\n");
    reads("$A=\nk $A z", "k z\n");
    reads("$A=1\nk \"$A ${A}\" a$A a${A}b", "k \"1 1\" a1 a1b\n");
    reads("$A=1\nk $AB $A-x $ 5$", "k $AB $A-x $ 5$\n");
    reads("k ${_HASH}x ${_BANG}", "k \\#x \\!\n");
}

#[test]
fn the_environment_and_chance_are_as_good_as_definitions() {
    reads("k a${_ENV SITE}z", "k anorth $5z\n");
    reads("$A=${_ENV SITE}\nk \"$A\"", "k \"north $5\"\n");
    reads("k ${_RANDOM 7 7} ${_RANDOM 32767}", "k 7 32767\n");
    let text = "k ${_RANDOM} ${_RANDOM} ${_RANDOM 0 4294967295}\n".repeat(20);
    let numbers = |tree: &Tree| -> Vec<u32> {
        tree.nodes.iter().flat_map(|n| &n.values).map(|w| w.parse().unwrap()).collect()
    };
    let first = numbers(&read(&text));
    assert_eq!(first, numbers(&read(&text)), "the same whenever it is read");
    assert!(first.chunks(3).all(|three| three[0] <= 32_767 && three[1] <= 32_767));
    assert!(first.chunks(3).any(|three| three[0] != three[1]) && first.iter().any(|n| *n > 32_767));
}

#[test]
fn who_asks_for_a_file_for_each_alternative_gets_one_or_an_error() {
    let said = |line: &str| {
        let files = MemoryFiles::new(&[("/e/main", line), ("/e/a/1.conf", "x\n"), ("/e/b/1.txt", "y\n")]);
        messages(&tree(&files, Path::new("/e/main")))
    };
    assert_eq!(said("includeb {a,b}/*.*"), "");
    assert_eq!(said("includeb c/*.*"), "`c/*.*` matches no file\n");
    assert_eq!(said("includeb {a,b}/*.conf"), "`includeb`: /e/b/*.conf matches no file\n");
    assert_eq!(said("includea {a,b}/*.conf"), "`includea`: /e/b/*.conf matches no file\n");
    assert_eq!(said("includew {a,b}/*.conf"), "");
    assert_eq!(said("includew {c,b}/*.conf"), "`{c,b}/*.conf` matches no file\n");
    assert_eq!(said("include {a,b}/*.conf"), "");
}

#[test]
fn a_line_is_read_the_same_by_the_short_way_and_the_long() {
    let text = "a b { c\td } #x\n}\n  k!\ne{}f}g\r\n\x0bh \x7fi\n{\n";
    both_ways(text);
}

#[test]
fn a_definition_of_several_lines_gives_several_lines() {
    reads("$A= \\\n b 1 \\\n c 2\nk {\n$A\n}", "k {\n    b 1\n    c 2\n}\n");
    reads("$C=3\n$B=b {\\\n c $C\\\n}\nk {\nx $B\n}\nl", "k {\n    x b {\n        c 3\n    }\n}\nl\n");
    reads("$A=a \\\n", "");
}

#[test]
fn a_definition_goes_on_behind_a_comment_that_ends_in_a_backslash() {
    reads("$A= \\\n b 1 \\\n# c 2 \\\n d 3\n$A", "b 1\nd 3\n");
    reads("$A= # x \\\n b 1 # y \\\n d 3\n$A", "b 1\nd 3\n");
    reads("$A= \\\n b 1 \\ # y\n d 3\n$A", "b 1\nd 3\n");
    reads("$A= \\\n b 1 \\\n# c\n d 3\n$A", "d 3\nb 1\n");
    reads("# a \\\nb", "b\n");
}

#[test]
fn the_lines_of_a_definition_define_and_ask_conditions_when_it_is_used() {
    let server = "$R= \\\n r ${V}.${N} { \\\n @here w 1 \\\n @there w 2 \\\n}\n";
    let outer = "$V_= \\\n v $V { \\\n $N=1 \\\n $R \\\n $N=2 \\\n $R \\\n }\n";
    let one = |v| {
        let r = |n| format!("    r {v}.{n} {{\n        w 1\n    }}\n");
        format!("v {v} {{\n{}{}}}\n", r(1), r(2))
    };
    reads(&format!("{server}{outer}$V=7\n$V_\n$V=8\n$V_\n"), &(one(7) + &one(8)));
    reads("$A= \\\n ~SEQ(i,2) k $i \\\n l\n$A", "k 1\nk 2\nl\n");
    reads("$I=@here\n$O=@there\n$A=a \\\n b\n$I k\n$O l\n$I $A\n$O $A\n", "k\na\nb\n");
}

#[test]
fn nothing_stands_behind_a_definition_of_several_lines() {
    let said = "this stands behind a definition of several lines, which must be the last of its line\n";
    assert_eq!(messages(&read("$A=a \\\n b\nk $A x\nl")), said);
    assert_eq!(messages(&read("$A=a \\\n b\n$B=1\nk $A $B")), said);
    assert_eq!(messages(&read("$A=a \\\n b\n$B=$A x\nk $B")), said);
    reads("$A=a \\\n b\n$B=$A\n$C=$B \\\n c\nk $C", "k a\nb\nc\n");
}

#[test]
fn lines_of_definitions_that_lead_back_or_double_each_other_end() {
    assert_eq!(messages(&read("$A=a \\\n $A\n$A")), "`$A` is defined by itself: $A -> $A\n");
    let circle = read("$A=a \\\n ~SEQ(i,1) $B\n$B=b \\\n @here k $A\n$A");
    assert_eq!(messages(&circle), "`$A` is defined by itself: $A -> $B -> $A\n");
    let mut nothing = "$A0= \\\n\n".to_owned();
    for i in 1..60 {
        nothing.push_str(&format!("$A{i}= \\\n$A{0} \\\n$A{0}\n", i - 1));
    }
    assert!(messages(&read(&format!("{nothing}$A59\n"))).contains("has more than 1000000 lines"));
    let long = format!("$A= \\\n{}\n{}", "x".repeat(60_000), "$A\n".repeat(5000));
    assert!(messages(&read(&long)).contains("definitions make the configuration larger than 64 MiB"));
}

#[test]
fn a_condition_keeps_a_line_on_one_host_or_off_it() {
    reads(
        "@here a\n@there b\n@^here c\n@^there d\n@here @there e\n@here @^there f ${_INSTANCE}",
        "a\nd\nf here\n",
    );
    reads("@here $A=1\n@there $A=2\nk $A", "k 1\n");
    reads("@there $A= \\\n b \\\n c\n@here $A=d\n$A", "d\n");
    reads("a {\n@there b {\n@there c }\n}", "a {\n}\n");
}

#[test]
fn a_repetition_stands_for_a_line_for_each_row() {
    reads("~SEQ(i,3) k 10.0.0.$i", "k 10.0.0.1\nk 10.0.0.2\nk 10.0.0.3\n");
    reads("~SEQ(i,0,2) ~LST(c,a,b) ${c}${i}", "a0\nb0\na1\nb1\na2\nb2\n");
    reads("~LST({n,m},{1,2},{3,4}) k ${n}-${m} {}", "k 1-2 {\n}\nk 3-4 {\n}\n");
    reads("$B=k $i {\\\n l ${j}\\\n }\n$j=7\n~SEQx(i,9,10) $B", "k 9 {\n    l 7\n}\nk a {\n    l 7\n}\n");
    reads("$i=5\n~SEQ(i,1) k $i\nk $i", "k 1\nk 5\n");
}

#[test]
fn a_repetition_may_say_by_definitions_how_often() {
    reads("$a=4\n$b=6\n~SEQ(i,$a,$b) k$i", "k4\nk5\nk6\n");
    reads("$a=4\n~SEQ(i,${a},5) ~SEQ(j,$i,5) k${i}${j}", "k44\nk45\nk55\n");
    reads("$all=~LST(i,a,b)\n$all k_${i}", "k_a\nk_b\n");
    reads("$all=~LST(i,a,b) k_$i\n$all", "k_a\nk_b\n");
    reads("$c=a,b\n~LST(i,$c) k_$i", "k_a\nk_b\n");
    assert_eq!(messages(&read("~SEQ(i,$none) k\nl")), "`$none` is not defined\n");
    assert_eq!(messages(&read("$a=~SEQ(i,$a)\n$a k")), "`$a` is defined by itself: $a -> $a\n");
}

#[test]
fn repetitions_cannot_explode() {
    let nested = "~SEQ(i,1000) ".repeat(3);
    assert!(messages(&read(&format!("{nested}x\n"))).contains("has more than 1000000 lines"));
    assert!(
        messages(&read(&format!("{}x\n", "~SEQ(i,1) ".repeat(20))))
            .contains("repetitions nest deeper than 16")
    );
    let long = format!("~SEQ(i,4294967295) {}\n", "x".repeat(60_000));
    assert!(messages(&read(&long)).contains("larger than 64 MiB"));
    assert_eq!(messages(&read(&format!("{}x", "@here ".repeat(100_000)))), "");
}

#[test]
fn included_files_stand_where_they_are_included() {
    let files = MemoryFiles::new(&[
        ("/e/main", "a\ninclude sub/*.conf\nb\ninclude /e/{x,y}\n"),
        ("/e/sub/1.conf", "one {\ninclude deep\n"),
        ("/e/sub/deep", "in ${_PWD}\n"),
        ("/e/sub/2.conf", "}\n"),
        ("/e/x", "x\n"),
        ("/e/y", "y"),
    ]);
    let text = tree(&files, Path::new("/e/main"));
    assert_eq!(messages(&text), "");
    assert_eq!(Print(&text.nodes).to_string(), "a\none {\n    in /e/sub\n}\nb\nx\ny\n");
}

#[test]
fn places_survive_escapes_and_definitions() {
    let text = read("$N=5\n  w\\#x ${N}y \"q r\"\n");
    let node = &text.nodes[0];
    let places: Vec<(String, &str)> = std::iter::once(&node.keyword)
        .chain(&node.values)
        .map(|w| (text.sources.describe(w.span), text.sources.slice(w.span)))
        .collect();
    let wanted = [("k:2:3", "w\\#x"), ("k:2:8", "${N}y"), ("k:2:15", "q r")];
    assert_eq!(places, wanted.map(|(at, word)| (at.to_owned(), word)));
}

#[test]
fn definitions_cannot_explode() {
    let mut doubling = "$A0=xxxxxxxxxxxxxxxx\n".to_owned();
    let mut nothing = "$A0=\n".to_owned();
    for i in 1..60 {
        doubling.push_str(&format!("$A{i}=${{A{0}}}${{A{0}}}\n", i - 1));
        nothing.push_str(&format!("$A{i}=${{A{0}}}${{A{0}}}\n", i - 1));
    }
    assert!(messages(&read(&format!("{doubling}k $A59\n"))).contains("makes the line longer than"));
    assert!(messages(&read(&format!("{nothing}k $A59\n"))).contains("makes the line longer than"));
    let long = format!("$A={}\n{}", "x".repeat(60_000), "k $A\n".repeat(5000));
    assert!(messages(&read(&long)).contains("definitions make the configuration larger than 64 MiB"));
}

#[test]
fn definitions_nest_so_deep_and_no_deeper() {
    let chain = |n: usize| -> String { (0..n).map(|i| format!("$A{i}=$A{}\n", i + 1)).collect() };
    assert_eq!(messages(&read(&format!("{}$A60=x\nk $A0\n", chain(60)))), "");
    assert!(messages(&read(&format!("{}$A70=x\nk $A0\n", chain(70)))).contains("nest deeper than 64"));
}

#[test]
fn includes_nest_so_deep_and_no_deeper() {
    let chain = |n: usize| {
        let files: Vec<(String, String)> =
            (0..=n).map(|i| (format!("/{i}"), format!("include {}\n", i + 1))).collect();
        let mut files = MemoryFiles(files.into_iter().map(|(p, t)| (p.into(), t.into_bytes())).collect());
        files.0.insert(format!("/{}", n + 1).into(), b"end\n".to_vec());
        tree(&files, Path::new("/0"))
    };
    assert_eq!(messages(&chain(61)), "");
    assert_eq!(messages(&chain(70)), "includes nest deeper than 64\n");
}

#[test]
fn a_circle_of_includes_is_said_to_be_one() {
    let files = MemoryFiles::new(&[("/a", "include b\n"), ("/b", "x\ninclude ./a\n")]);
    assert_eq!(messages(&tree(&files, Path::new("/a"))), "/a: includes itself\n");
}

#[test]
fn an_include_storm_ends() {
    let mut files = MemoryFiles::default();
    for i in 0..40 {
        files.0.insert(format!("/{i}").into(), format!("include {0}\ninclude {0}\n", i + 1).into_bytes());
    }
    files.0.insert("/40".into(), b"x\n".to_vec());
    let text = tree(&files, Path::new("/0"));
    assert!(messages(&text).contains("the configuration is larger than"));
}

#[test]
fn more_than_a_million_lines_are_too_many() {
    let text = read(&"a\n".repeat(expand::MAX_LINES + 1));
    assert_eq!(messages(&text), "the configuration has more than 1000000 lines\n");
    assert_eq!(text.nodes.len(), expand::MAX_LINES);
}

#[test]
fn a_hundred_thousand_braces_do_not_exhaust_the_stack() {
    let text = read(&"a {".repeat(100_000));
    assert!(messages(&text).contains("blocks nest deeper than 32"));
    let closed = read(&format!("{}{}b", "a {".repeat(1000), "}".repeat(1000)));
    assert_eq!(closed.nodes.last().map(|n| &*n.keyword.text), Some("b"));
}

proptest! {
    #[test]
    fn a_line_of_pieces_is_read_the_same_by_the_short_way_and_the_long(
        pieces in proptest::collection::vec(plain_piece(), 0..40),
    ) {
        both_ways(&pieces.concat());
    }

    #[test]
    fn a_printed_tree_reads_back_as_itself(pieces in proptest::collection::vec(piece(), 0..80)) {
        let first = read(&pieces.concat());
        let printed = Print(&first.nodes).to_string();
        let second = read(&printed);
        prop_assert_eq!(&first.nodes, &second.nodes, "{}", printed);
    }

    #[test]
    fn arbitrary_text_is_read(text in any::<String>(), pieces in proptest::collection::vec(piece(), 0..80)) {
        let both = format!("{text}{}", pieces.concat());
        let read = read(&both);
        for node in &read.nodes {
            read.sources.describe(node.span());
        }
    }
}

fn piece() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(
        &[
            "a",
            "bc",
            "é",
            "1.5",
            " ",
            "\t",
            "\n",
            "\r\n",
            "{",
            "}",
            "\"",
            "#",
            "!",
            "\\",
            "\\#",
            "\\!",
            "$",
            "$A",
            "${A}",
            "\n$A=",
            "include ",
            "\n$B=$A ",
            "${_HASH}",
            "'",
            "\u{a0}",
            "=",
            ",",
            ")",
            "~",
            "@",
            "@here ",
            "~SEQ(A,3) ",
            "~LST({A,B},{1,2}) ",
            "\r",
        ][..],
    )
}

fn plain_piece() -> impl Strategy<Value = &'static str> {
    let all = [
        "a", "bc", "1.5", "é", "\"", " ", "    ", "\t", "\n", "\n\n", "\r\n", "{", "}", " {\n", "}\n", "# x",
        "!", "\\#", "\\", "'", "inc", "include", "include ", "includer", "@", "~", "=",
    ];
    proptest::sample::select(all.to_vec())
}

/// A condition that holds keeps a line from the short way, and changes nothing else.
fn both_ways(text: &str) {
    let long: String = text.split_inclusive('\n').map(|line| format!("@here {line}")).collect();
    let (short, long) = (read(text), read(&long));
    assert_eq!(short.nodes, long.nodes, "{text:?}");
    assert_eq!(messages(&short), messages(&long), "{text:?}");
}

fn reads(text: &str, wanted: &str) {
    let read = read(text);
    assert_eq!(Print(&read.nodes).to_string(), wanted, "{text:?}: {}", messages(&read));
    assert_eq!(read.diagnostics.errors(), 0, "{text:?}: {}", messages(&read));
}

fn read(text: &str) -> Tree {
    tree(&MemoryFiles::new(&[("k", text)]), Path::new("k"))
}

/// All statements of a file.
pub(crate) struct Tree {
    pub nodes: Vec<Node>,
    pub sources: Sources,
    pub diagnostics: Diagnostics,
}

pub(crate) fn tree(files: &dyn Files, path: &Path) -> Tree {
    let mut nodes = Vec::new();
    let text = expand::read(files, path, &mut |node, _| nodes.push(node.clone()));
    Tree { nodes, sources: text.sources, diagnostics: text.diagnostics }
}

fn messages(text: &Tree) -> String {
    text.diagnostics.iter().map(|d| format!("{}\n", d.message)).collect()
}
