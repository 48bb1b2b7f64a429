//! Hostile input: the odd files and the examples, mutated by bytes and by words, for some seconds.
//!
//! `LVSD_FUZZ_SECONDS=600` makes it go on for so long, `LVSD_FUZZ_SEED=N` begins elsewhere.

use std::path::Path;
use std::time::Duration;

use super::odd::{self, OddFiles};
use crate::cli::check::report;
use crate::config::Strictness;
use crate::config::load::load_from;
use crate::daemon::clock;
use crate::daemon::startup::Exit;
use crate::syntax::diagnostic::Diagnostics;
use crate::syntax::files::MemoryFiles;
use crate::syntax::print::Print;
use crate::syntax::tests::tree;

/// What a text may take. A million lines, the most there may be, take a second, and much longer without
/// optimization and beside other tests.
const PATIENCE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 120 } else { 2 });
/// Longest text that is made.
const MAX_BYTES: usize = 16 << 10;

#[test]
fn hostile_input_gets_a_verdict_in_time() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let length = Duration::from_secs(number("LVSD_FUZZ_SECONDS").unwrap_or(3));
    let mut random = Random(number("LVSD_FUZZ_SEED").unwrap_or(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let seeds = seeds();
    let words = words();
    let (begin, mut count, mut slowest) = (clock::now(), 0u64, Duration::ZERO);
    while clock::now().since(begin) < length {
        let (is_yaml, seed) = random.one_of(&seeds);
        let mut text = seed.clone();
        for _ in 0..=random.below(6) {
            mutate(&mut text, &seeds, &words, &mut random);
        }
        text.truncate(MAX_BYTES);
        let started = clock::now();
        judge(*is_yaml, &text);
        let took = clock::now().since(started);
        assert!(took < PATIENCE, "{took:?}: {:?}", String::from_utf8_lossy(&text));
        slowest = slowest.max(took);
        count += 1;
    }
    println!("{count} texts, the slowest took {slowest:?}");
}

/// Reads a text, and checks what must hold of every answer.
fn judge(is_yaml: bool, text: &[u8]) {
    let path = Path::new(odd::path(is_yaml));
    let shown = || String::from_utf8_lossy(text).into_owned();
    let files = OddFiles::new(odd::path(is_yaml), text.to_vec());
    for strictness in [Strictness::Strict, Strictness::Lenient] {
        let loaded = load_from(&files, path, strictness);
        let errors = loaded.diagnostics.errors();
        assert_eq!(loaded.config.is_some(), errors == 0, "{:?}", shown());
        assert!(loaded.diagnostics.iter().count() <= 2 * Diagnostics::MAX_KEPT, "{:?}", shown());
        let report = report(path, &loaded, false);
        assert_eq!(report.exit == Exit::Ok, errors == 0, "{:?}", shown());
        assert!(!report.text.is_empty() && report.text.len() < 16 << 20, "{:?}", shown());
    }
    if is_yaml {
        return;
    }
    let first = tree(&files, path);
    // The language has no escape for a dollar: a word with one may be another word when read again.
    let printed = Print(&first.nodes).to_string();
    if first.diagnostics.errors() == 0 && !printed.contains('$') {
        let again = tree(&MemoryFiles::new(&[("k", &printed)]), Path::new("k"));
        assert_eq!(first.nodes, again.nodes, "{:?}\n{printed:?}", shown());
    }
}

fn mutate(text: &mut Vec<u8>, seeds: &[(bool, Vec<u8>)], words: &[Vec<u8>], random: &mut Random) {
    let at = random.below(text.len() + 1);
    let piece = piece(text, random);
    match random.below(10) {
        0 => text.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
        1 => text.insert(at, random.below(256) as u8),
        2 => drop(text.drain(piece)),
        3 => {
            let copy = text[piece].to_vec();
            drop(text.splice(at..at, copy));
        }
        4 => {
            // The same a few times over.
            let copy = text[piece].repeat(1 + random.below(40));
            drop(text.splice(at..at, copy.into_iter().take(MAX_BYTES)));
        }
        5 => {
            let (_, other) = random.one_of(seeds);
            let part = self::piece(other, random);
            drop(text.splice(at..at, other[part].to_vec()));
        }
        6 | 7 => drop(text.splice(at..at, random.one_of(words).clone())),
        _ => {
            let word = word_at(text, at);
            drop(text.splice(word, random.one_of(words).clone()));
        }
    }
    text.truncate(MAX_BYTES);
}

/// A part of a text: mostly short, sometimes whole lines.
fn piece(text: &[u8], random: &mut Random) -> std::ops::Range<usize> {
    let start = random.below(text.len() + 1);
    if random.below(2) == 0 {
        return start..(start + random.below(24)).min(text.len());
    }
    let end_of_line =
        |from: usize| text[from..].iter().position(|b| *b == b'\n').map_or(text.len(), |i| from + i + 1);
    let start = end_of_line(start);
    let end = (0..random.below(6)).fold(start, |end, _| end_of_line(end));
    start..end
}

/// The word around a place.
fn word_at(text: &[u8], at: usize) -> std::ops::Range<usize> {
    let is_word = |byte: &u8| !byte.is_ascii_whitespace();
    let start = text[..at].iter().rposition(|b| !is_word(b)).map_or(0, |i| i + 1);
    let end = text[at..].iter().position(|b| !is_word(b)).map_or(text.len(), |i| at + i);
    start..end
}

fn seeds() -> Vec<(bool, Vec<u8>)> {
    let mut seeds: Vec<(bool, Vec<u8>)> = odd::all().into_iter().map(|odd| (odd.is_yaml, odd.text)).collect();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if matches!(extension, "conf" | "yaml") {
            seeds.push((extension == "yaml", std::fs::read(&path).unwrap()));
        }
    }
    // Directories have no order of their own.
    seeds.sort();
    // Nor texts that are slow by themselves: they would be all that is tried.
    seeds.retain(|(_, text)| text.len() <= MAX_BYTES && !text.windows(10).any(|w| w == b"4000000000"));
    seeds
}

/// Words of both languages, and signs and values that mean something.
fn words() -> Vec<Vec<u8>> {
    let mut words: Vec<String> = crate::config::root::listing()
        .into_iter()
        .flat_map(|k| k.names.into_iter().chain(k.yaml))
        .map(|name| format!("{name} "))
        .collect();
    words.extend(
        crate::config::root::listing().into_iter().flat_map(|k| k.yaml).map(|name| format!("{name}: ")),
    );
    let signs = "{ } {} [ ] , : - # ! \" ' \\ \\# \\! \\\\ $ ${ $A ${A} $A= $A=$A $B=$A @ @here @^here ~ ~SEQ(i,9) \
                 ~SEQ(i,1,2000) ~SEQ(i,3,-1,1) ~LST({a,b},{1,2}) ${_HASH} ${_PWD} ${_INSTANCE} include includea \
                 loop.conf conf.d/*.conf open.conf * ** ? [a-z] &a *a << <<: !!int | > |+ --- ... %YAML ? 0 1 -1 65535 \
                 65536 4294967295 4294967296 2147483648 99999999999999999999 0.5 1e9 0x10 5s 1ms 1h nan .inf 192.0.2.1 \
                 192.0.2.1-9 192.0.2.0/24 255.255.255.255 0.0.0.0 ::1 2001:db8::1-ffff [::1]:80 fe80::1%lo group fwmark \
                 TCP UDP SCTP tcp true false yes no null ~ {a:1} [1,2]";
    words.extend(signs.split(' ').filter(|s| !s.is_empty()).flat_map(|s| [s.to_owned(), format!("{s} ")]));
    words.extend(
        ["\n", "\n\n", "\r\n", "\r", "\t", " ", "    ", "\u{a0}", "\u{feff}", "\u{3000}", "é", " \\\n", ""]
            .map(str::to_owned),
    );
    let mut words: Vec<Vec<u8>> = words.into_iter().map(String::into_bytes).collect();
    words.extend([vec![0], vec![0xff], vec![0xc3], vec![0xed, 0xa0, 0x80]]);
    words
}

/// xorshift64: the same texts from the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end.max(1)
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}
