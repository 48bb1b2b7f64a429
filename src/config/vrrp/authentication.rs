//! `authentication` and `auth_hmac`: what proves that an advertisement is a router's. No diagnostic quotes a secret.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::options::options;
use crate::syntax::diagnostic::{Code, Diagnostic};
use crate::syntax::files::{self, Files};
use crate::syntax::keyword::{Reader, Slot, Table, get};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value;
use crate::vrrp::settings::{Authentication, Hmac, HmacMode};

use super::one_of;

/// Bytes of a password that count.
const PASSWORD: usize = 8;
/// Least and most bytes of a key.
const KEY: std::ops::RangeInclusive<usize> = 32..=64;
const MAX_KEYS: usize = 16;

/// A secret: Debug does not tell it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

options! {
    /// `authentication` as it was written.
    #[derive(Clone)]
    pub(crate) struct AuthenticationOptions {
        /// A password, readable by anybody on the network, or a hash over it.
        kind: Slot<Type> = word(=> one_of[TYPES]; "auth_type", "PASS or AH").yaml(&["type"]);
        /// The password.
        password: Slot<Secret> = word(=> password; "auth_pass", "PASSWORD of at most 8 bytes").yaml(&["password"]);
    }
}

const TYPES: &[(&str, Type)] = &[("PASS", Type::Pass), ("AH", Type::Ah)];

impl AuthenticationOptions {
    /// Whether its packets prove who sent them.
    pub(crate) fn is_header(&self) -> bool {
        get(&self.kind) == Some(Type::Ah)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// A password.
    Pass,
    /// A hash over it.
    Ah,
}

options! {
    /// `auth_hmac` as it was written.
    #[derive(Clone)]
    pub(crate) struct HmacOptions {
        /// A key of 32 to 64 bytes.
        keys: Keys = words(=> key; "key", "ID and hex:KEY, file:PATH or ascii:KEY", 2, 2).yaml_instead("`keys: [{id: 1, secret: \"file:/etc/lvsd/vrrp.key\"}]`");
        /// Keys of 32 to 64 bytes: {id, secret}, secret being hex:KEY, file:PATH or ascii:KEY.
        _ = block(@keys => yaml_key; "keys", "").only_yaml();
        /// The key to sign with.
        active: Slot<u32> = number("active_key", 0, 255);
        /// How old a signature may be.
        window: Slot<Duration> = time("time_window", Duration::from_secs(1), Duration::from_secs(300));
        /// How repeated packets are told.
        is_monotonic: Slot<bool> = word(=> one_of[ANTI_REPLAY]; "anti_replay", "time or monotonic");
        /// What becomes of packets without signature.
        mode: Slot<HmacMode> = word(=> one_of[MODES]; "mode", "enforce, permissive or receive-only");
    }
}

type Keys = Vec<(u8, Secret, Span)>;

const ANTI_REPLAY: &[(&str, bool)] = &[("time", false), ("monotonic", true)];
const MODES: &[(&str, HmacMode)] = &[
    ("enforce", HmacMode::Enforce),
    ("permissive", HmacMode::Permissive),
    ("receive-only", HmacMode::ReceiveOnly),
];

/// Keywords of `authentication`.
pub(crate) const AUTHENTICATION: Table<AuthenticationOptions> =
    Table::of("authentication", "authentication", &[AuthenticationOptions::keywords()]);

/// Keywords of `auth_hmac`.
pub(crate) const AUTH_HMAC: Table<HmacOptions> =
    Table::of("auth_hmac", "auth_hmac", &[HmacOptions::keywords()]);

fn password(slot: &mut Slot<Secret>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    if word.is_empty() {
        return reader.error(node.keyword.span, format!("`{}` is empty", node.keyword.text));
    }
    if word.len() > PASSWORD {
        let text = format!("`{}` is longer than {PASSWORD} bytes", node.keyword.text);
        let problem = reader.compat_diagnostic(node.keyword.span, text, ": only the first 8 count");
        reader.diagnostics.push(problem.code(Code::PasswordCut));
    }
    reader.store(slot, node, Secret(word.text.to_string()));
}

fn key(keys: &mut Keys, node: &Node, reader: &mut Reader<'_>) {
    if let [id, secret] = &node.values[..] {
        add_key(keys, id, secret, node.keyword.span, reader);
    }
}

fn yaml_key(keys: &mut Keys, node: &Node, reader: &mut Reader<'_>) {
    let found = ["id", "secret"].map(|key| super::line::value_of(key, node));
    let surplus = node.statements().iter().find(|s| !matches!(&*s.keyword.text, "id" | "secret"));
    match (found, surplus) {
        ([Some(id), Some(secret)], None) => add_key(keys, id, secret, node.keyword.span, reader),
        (_, Some(other)) => {
            let text = format!("`{}` is not a keyword of a key", other.keyword.text);
            reader.diagnostics.push(Diagnostic::error(other.keyword.span, text).help("write id and secret"));
        }
        _ => reader.error(node.keyword.span, "a key needs an `id` and a `secret`"),
    }
}

fn add_key(keys: &mut Keys, id: &Word, secret: &Word, at: Span, reader: &mut Reader<'_>) {
    let Some(number) = value::number(id, 0, 255).ok().and_then(|n| u8::try_from(n).ok()) else {
        return reader.error(id.span, format!("`key`: `{}` is not an id from 0 to 255", id.text));
    };
    if keys.iter().any(|(known, ..)| *known == number) {
        reader.error(id.span, format!("key {number} is defined twice"));
    } else if keys.len() >= MAX_KEYS {
        reader.error(at, format!("there are more than {MAX_KEYS} keys"));
    } else {
        keys.push((number, Secret(secret.text.to_string()), at));
    }
}

impl AuthenticationOptions {
    /// The authentication of version 2. None where none was written, or what is wrong was said.
    pub(crate) fn resolve(&self, at: Span, reader: &mut Reader<'_>) -> Option<Authentication> {
        let kind = get(&self.kind);
        let Some(Secret(password)) = get(&self.password) else {
            if kind.is_some() {
                let problem = Diagnostic::error(at, "`authentication` has no password");
                let word = reader.example(
                    AuthenticationOptions::keywords::<AuthenticationOptions>(),
                    "auth_pass",
                    "WORD",
                );
                reader.diagnostics.push(problem.help(format!("write `{word}`, of at most {PASSWORD} bytes")));
            }
            return None;
        };
        let mut padded = [0; PASSWORD];
        padded.iter_mut().zip(password.bytes()).for_each(|(to, from)| *to = from);
        match kind {
            Some(Type::Pass) => Some(Authentication::Password(padded)),
            Some(Type::Ah) => Some(Authentication::Header(padded)),
            None => {
                let word = reader.example(
                    AuthenticationOptions::keywords::<AuthenticationOptions>(),
                    "auth_type",
                    &reader.fixed("PASS"),
                );
                let problem =
                    reader.compat_diagnostic(at, "`authentication` has no type", ", and is ignored");
                let problem = problem.code(Code::Unheeded(at));
                reader.diagnostics.push(problem.help(format!("write `{word}`")));
                None
            }
        }
    }
}

impl HmacOptions {
    /// The keys and what they are for. None after saying what is wrong.
    pub(crate) fn resolve(
        &self,
        at: Span,
        interval: Duration,
        files: &dyn Files,
        reader: &mut Reader<'_>,
    ) -> Option<Authentication> {
        let mut keys = BTreeMap::new();
        for (id, secret, span) in &self.keys {
            match bytes(&secret.0, files) {
                Ok(key) if KEY.contains(&key.len()) => {
                    keys.insert(*id, key);
                }
                Ok(key) => {
                    let text = format!(
                        "key {id} has {} bytes: it needs {} to {}",
                        key.len(),
                        KEY.start(),
                        KEY.end()
                    );
                    reader.error(*span, text);
                }
                Err(problem) => reader.error(*span, format!("key {id}: {problem}")),
            }
        }
        let Some(first) = self.keys.first() else {
            let problem = Diagnostic::error(at, "`auth_hmac` has no key");
            reader.diagnostics.push(problem.help("write `key 1 file:/etc/keepalived/vrrp.key`"));
            return None;
        };
        let active = match &self.active {
            None if self.keys.len() == 1 => first.0,
            None => {
                let problem = Diagnostic::error(at, "`auth_hmac` has several keys, and none is to sign with");
                reader.diagnostics.push(problem.help("write `active_key ID`"));
                return None;
            }
            Some(active) => {
                let id = u8::try_from(active.value).unwrap_or(0);
                if !self.keys.iter().any(|(known, ..)| *known == id) {
                    reader.error(active.span, format!("`active_key`: there is no key {id}"));
                }
                id
            }
        };
        Some(Authentication::Hmac(Arc::new(Hmac {
            keys,
            active,
            window: get(&self.window).unwrap_or((interval * 3).max(Duration::from_secs(5))),
            is_monotonic: get(&self.is_monotonic).unwrap_or(false),
            mode: get(&self.mode).unwrap_or(HmacMode::Enforce),
        })))
    }
}

/// The bytes of a key.
fn bytes(secret: &str, files: &dyn Files) -> Result<Vec<u8>, String> {
    if let Some(path) = secret.strip_prefix("file:") {
        let mut key = files
            .read(Path::new(path), 2 * KEY.end())
            .map_err(|error| format!("{path}: {}", files::in_words(&error)))?;
        while key.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            key.pop();
        }
        return Ok(key);
    }
    if let Some(text) = secret.strip_prefix("ascii:") {
        return Ok(text.as_bytes().to_vec());
    }
    let Some(digits) = secret.strip_prefix("hex:") else {
        return Err("write hex:KEY, file:PATH or ascii:KEY".to_owned());
    };
    let pairs = digits.as_bytes().chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair)
            .ok()
            .filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u8::from_str_radix(text, 16).ok()
    });
    pairs.collect::<Option<Vec<u8>>>().ok_or_else(|| "hex: takes pairs of hexadecimal digits".to_owned())
}
