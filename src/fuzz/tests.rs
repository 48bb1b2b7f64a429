//! Every target over its corpus (`fuzz/corpus/TARGET`) and over a fixed number of seeded mutations of it; and, by
//! `scripts/fuzz`, for as long as is wanted.
//!
//! An input that breaks a rule is written to `fuzz/artifacts/TARGET`.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::mutator::{MAX_BYTES, Mutator};
use super::{TARGETS, Target};
use crate::check::spec::digest::{Digest, DigestKind};
use crate::config::tests::odd;
use crate::daemon::clock;

/// What an input may take. A million lines, the most there may be, take a second, and much longer without
/// optimization and beside other tests.
const PATIENCE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 120 } else { 2 });

/// Mutations of a target whose input is a text that is parsed, expanded and reported on.
const TEXTS: usize = 400;
/// Mutations of a target whose input is a reply, a packet or a request.
const REPLIES: usize = 4_000;

#[test]
fn keepalived_conf() {
    briefly("keepalived_conf", TEXTS);
}

#[test]
fn yaml() {
    briefly("yaml", TEXTS);
}

#[test]
fn expander() {
    briefly("expander", TEXTS);
}

#[test]
fn vrrp_packet() {
    briefly("vrrp_packet", REPLIES);
}

#[test]
fn bfd_packet() {
    briefly("bfd_packet", REPLIES);
}

#[test]
fn netlink_ipvs() {
    briefly("netlink_ipvs", REPLIES);
}

#[test]
fn netlink_rtnetlink() {
    briefly("netlink_rtnetlink", REPLIES);
}

#[test]
fn http_reply() {
    briefly("http_reply", REPLIES);
}

#[test]
fn dns_reply() {
    briefly("dns_reply", REPLIES);
}

#[test]
fn smtp_reply() {
    briefly("smtp_reply", REPLIES);
}

#[test]
fn nft_json() {
    briefly("nft_json", REPLIES);
}

#[test]
fn control_request() {
    briefly("control_request", REPLIES);
}

#[test]
fn every_target_has_its_program_its_corpus_and_its_brief_run() {
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let own = include_str!("tests.rs");
    for (name, _) in TARGETS {
        let program = fs::read_to_string(folder().join(format!("targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("lvsd::internals::fuzz::{name}(")), "{name}: {program}");
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"targets/{name}.rs\"\n")), "{name}");
        assert!(!files_of(&folder().join("corpus").join(name)).is_empty(), "{name}");
        assert!(own.contains(&format!("    briefly(\"{name}\", ")), "{name}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    assert_eq!(fs::read_dir(folder().join("targets")).unwrap().count(), TARGETS.len());
    assert_eq!(fs::read_dir(folder().join("corpus")).unwrap().count(), TARGETS.len());
}

/// `LVSD_FUZZ_SECONDS`, `LVSD_FUZZ_TARGET` (all in turn where it is not set) and `LVSD_FUZZ_SEED` (1).
#[test]
#[ignore = "runs as long as scripts/fuzz says"]
fn for_as_long_as_wanted() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let length = Duration::from_secs(number("LVSD_FUZZ_SECONDS").unwrap_or(60));
    let seed = number("LVSD_FUZZ_SEED").unwrap_or(1);
    let wanted = std::env::var("LVSD_FUZZ_TARGET").ok();
    let mut running: Vec<(Target, Mutator, u64)> = Vec::new();
    for target in TARGETS.iter().filter(|(name, _)| wanted.as_ref().is_none_or(|wanted| wanted == name)) {
        let seeds = corpus(target.0);
        seeds.iter().for_each(|(origin, input)| hold(target, input, origin));
        running.push((*target, mutator(target.0, seed, seeds), 0));
    }
    assert!(!running.is_empty(), "no target is called {wanted:?}");
    let begun = clock::now();
    while clock::now().since(begun) < length {
        for (target, mutator, count) in &mut running {
            hold(target, &mutator.next(), &format!("seed {seed}, number {count}"));
            *count += 1;
        }
    }
    for ((name, _), _, count) in running {
        println!("{name}: {count} inputs");
    }
}

fn briefly(name: &str, mutations: usize) {
    let target = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of that name");
    let seeds = corpus(name);
    assert!(!seeds.is_empty());
    seeds.iter().for_each(|(origin, input)| hold(target, input, origin));
    let mut mutator = mutator(name, 1, seeds);
    for number in 0..mutations {
        hold(target, &mutator.next(), &format!("seed 1, number {number}"));
    }
}

/// Runs a target, in time; an input that breaks a rule is kept.
fn hold((name, run): &Target, input: &[u8], origin: &str) {
    let begun = clock::now();
    let result = catch_unwind(AssertUnwindSafe(|| run(input)));
    let took = clock::now().since(begun);
    if let Err(panic) = result {
        eprintln!("{name}, {origin}: {}", keep(name, input));
        resume_unwind(panic);
    }
    assert!(took < PATIENCE, "{name}, {origin} takes {took:?}: {}", keep(name, input));
}

fn keep(name: &str, input: &[u8]) -> String {
    let path = folder().join("artifacts").join(name);
    let file = path.join(Digest::of(DigestKind::Md5, input).to_string());
    let written = fs::create_dir_all(&path).and_then(|()| fs::write(&file, input));
    written.map_or_else(|e| format!("{}: {e}", file.display()), |()| format!("kept as {}", file.display()))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The inputs a target begins with, and where each is from.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = files_of(&folder().join("corpus").join(name));
    let is_yaml = name == "yaml";
    let is_configuration = is_yaml || ["keepalived_conf", "expander"].contains(&name);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if is_configuration {
        for folder in ["examples", "integration/diagnostics"] {
            let extension = if is_yaml { "yaml" } else { "conf" };
            files.extend(
                files_of(&root.join(folder))
                    .into_iter()
                    .filter(|f| f.extension().is_some_and(|e| e == extension)),
            );
        }
    }
    let mut seeds: Vec<(String, Vec<u8>)> =
        files.iter().map(|file| (file.display().to_string(), fs::read(file).unwrap())).collect();
    if is_configuration {
        let odd = odd::all().into_iter().filter(|odd| odd.is_yaml == is_yaml);
        seeds.extend(odd.map(|odd| (odd.name.to_owned(), odd.text)));
    }
    // What is slow by itself would be all that is tried.
    seeds.retain(|(_, text)| text.len() <= MAX_BYTES && !text.windows(10).any(|w| w == b"4000000000"));
    seeds
}

/// The files of a folder, in order of their names.
fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn mutator(name: &str, seed: u64, seeds: Vec<(String, Vec<u8>)>) -> Mutator {
    Mutator::new(seed, seeds.into_iter().map(|(_, text)| text).collect(), words(name))
}

/// Words of a target's language, and bytes that mean something in every one.
fn words(name: &str) -> Vec<Vec<u8>> {
    let mut words: Vec<String> = match name {
        "keepalived_conf" | "yaml" | "expander" => words_of_configurations(),
        "http_reply" => [
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.0 503 \r\n",
            "HTTP/2.0 ",
            "\r\n",
            "\r\n\r\n",
            "\n",
            "Content-Length: ",
            "12",
            "18446744073709551616",
            "-1",
            "Transfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
            "ffffffffffffffff\r\n",
            ": ",
            "Connection: close\r\n",
            "hello world\n",
        ]
        .map(str::to_owned)
        .to_vec(),
        "nft_json" | "control_request" => [
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "null",
            "true",
            "-1",
            "18446744073709551616",
            "1e999",
            "\"nftables\"",
            "\"chain\"",
            "\"rule\"",
            "\"set\"",
            "\"expr\"",
            "\"match\"",
            "\"jump\"",
            "\"drop\"",
            "\"accept\"",
            "\"range\"",
            "\"prefix\"",
            "\"status\"",
            "\"order\"",
            "\"selector\"",
            "\"drain\"",
            "\"command\"",
            "\"by\"",
            "\\u0000",
            "\\ud800",
        ]
        .map(str::to_owned)
        .to_vec(),
        _ => Vec::new(),
    };
    words.extend(["", " ", "\n", "\t"].map(str::to_owned));
    let mut words: Vec<Vec<u8>> = words.into_iter().map(String::into_bytes).collect();
    words.extend([vec![0], vec![0xff], vec![0xc3], vec![0xed, 0xa0, 0x80]]);
    words.extend(
        [0u32, 1, 4, 7, 8, 16, 20, 36, 0x7fff, 0x8000, 0xffff, 1 << 31, u32::MAX]
            .map(|n| n.to_ne_bytes().to_vec()),
    );
    words.extend([0u16, 3, 4, 5, 8, 112, 0xff, 0xffff].map(|n| n.to_ne_bytes().to_vec()));
    words
}

/// Keywords of both languages, and signs and values that mean something.
fn words_of_configurations() -> Vec<String> {
    let listing = crate::config::root::listing();
    let names = listing.iter().flat_map(|k| k.names.iter().chain(&k.yaml));
    let mut words: Vec<String> = names.map(|name| format!("{name} ")).collect();
    words.extend(listing.iter().flat_map(|k| &k.yaml).map(|name| format!("{name}: ")));
    let signs = "{ } {} [ ] , : - # ! \" ' \\ \\# \\! \\\\ $ ${ $A ${A} $A= $A=$A $B=$A @ @here @^here ~ ~SEQ(i,9) \
                 ~SEQ(i,1,2000) ~SEQ(i,3,-1,1) ~LST({a,b},{1,2}) ${_HASH} ${_PWD} ${_INSTANCE} include includea \
                 loop.conf conf.d/*.conf open.conf * ** ? [a-z] &a *a << <<: !!int | > |+ --- ... %YAML ? 0 1 -1 65535 \
                 65536 4294967295 4294967296 2147483648 99999999999999999999 0.5 1e9 0x10 5s 1ms 1h nan .inf 192.0.2.1 \
                 192.0.2.1-9 192.0.2.0/24 255.255.255.255 0.0.0.0 ::1 2001:db8::1-ffff [::1]:80 fe80::1%lo group fwmark \
                 TCP UDP SCTP tcp true false yes no null ~ {a:1} [1,2]";
    words.extend(signs.split(' ').filter(|s| !s.is_empty()).flat_map(|s| [s.to_owned(), format!("{s} ")]));
    words.extend(
        ["\n\n", "\r\n", "\r", "    ", "\u{a0}", "\u{feff}", "\u{3000}", "é", " \\\n"].map(str::to_owned),
    );
    words
}
