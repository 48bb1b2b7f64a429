//! A path to a configuration: what commands and the daemon call.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;

use crate::net::namespace;
use crate::syntax::diagnostic::{Class, Code, Diagnostic, Diagnostics, Note};
use crate::syntax::expand::{self, Skipped};
use crate::syntax::files::Files;
use crate::syntax::keyword::{Language, Reader, Spanned, get};
use crate::syntax::only_on::Elsewhere;
use crate::syntax::source::Sources;
use crate::syntax::tree::Node;
use crate::syntax::yaml;
use crate::text;
use crate::vrrp::settings::Settings;

use super::defaults::Dialect;
use super::local_host::LocalHost;
use super::resolve::Common;
use super::root::RootOptions;
use super::timing::TimingOptions;
use super::tls::TlsReader;
use super::types::{Config, Global};
use super::vrrp::verify::Verify;
use super::{checker, global, mail, notice, resolve, root, vrrp};

/// A configuration that was read, and everything that is to be said about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration; None when there is an error.
    pub config: Option<Config>,
    /// Errors and warnings, in the order of the text.
    pub diagnostics: Diagnostics,
    /// The files, for showing the places of the diagnostics.
    pub sources: Sources,
    /// A file system did not answer in time: it may the next time.
    pub is_silent: bool,
    /// What is for other hosts (`only_on`), in words.
    pub elsewhere: Vec<String>,
}

impl Loaded {
    /// The problems of one class as lines for a log: `FILE:LINE:COLUMN: message: help`.
    pub fn lines(&self, class: Class) -> Vec<String> {
        let line = |d: &Diagnostic| {
            let place = d.span.map(|span| format!("{}: ", self.sources.describe(span))).unwrap_or_default();
            let help = d.help.as_ref().map(|help| format!(": {help}")).unwrap_or_default();
            text::line(&format!("{place}{}{help}", d.message)).into_owned()
        };
        self.diagnostics.iter().filter(|d| d.class == class).map(line).collect()
    }
}

/// How a configuration is read, beside its path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// What becomes of unknown words.
    pub strictness: Strictness,
    /// What `@ID` is compared with; None for the name of this host up to the first dot.
    pub id: Option<String>,
    /// Nothing is said that depends on this host: its files, interfaces and addresses.
    pub is_offline: bool,
    /// What becomes of the network namespace that the configuration names.
    pub namespace: Namespace,
}

/// What becomes of the network namespace that a configuration names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// Nothing: this process is there, or has no business there.
    #[default]
    Stay,
    /// The thread that reads enters it if it can; else a warning says so.
    Look,
    /// The thread that reads enters it, or there is an error.
    Enter,
}

/// What becomes of unknown words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// They are errors.
    #[default]
    Strict,
    /// They are warnings, and they and their blocks are skipped; a server never loses its check by that.
    Lenient,
}

/// Reads the configuration of a file, with all it includes. A `.yaml` or `.yml` file is YAML, any other is
/// keepalived.conf. It ends, however its file systems behave.
pub(crate) fn load(path: &Path, reading: &Reading) -> Loaded {
    load_as(&LocalHost::default().named(reading.id.clone()), path, reading)
}

/// As [`load`], for a command that reads it once: it may be a pipe that the command was given.
pub(crate) fn load_once(path: &Path, reading: &Reading) -> Loaded {
    load_as(&LocalHost::once(path).named(reading.id.clone()), path, reading)
}

/// As [`load`], from the files given.
#[cfg(any(test, feature = "internals"))]
pub fn load_from(files: &dyn Files, path: &Path, strictness: Strictness) -> Loaded {
    load_as(files, path, &Reading { strictness, ..Reading::default() })
}

/// The language of a file, by its name.
pub(crate) fn language_of(path: &Path) -> Language {
    let is_yaml = |e: &std::ffi::OsStr| e.eq_ignore_ascii_case("yaml") || e.eq_ignore_ascii_case("yml");
    if path.extension().is_some_and(is_yaml) { Language::Yaml } else { Language::Keepalived }
}

/// As [`load_from`], read in this way.
pub(crate) fn load_as(files: &dyn Files, path: &Path, reading: &Reading) -> Loaded {
    let language = match path.extension() {
        None if LocalHost::is_descriptor(path) && looks_like_yaml(files, path) => Language::Yaml,
        _ => language_of(path),
    };
    load_heard(files, path, language, reading, &mut |_| {})
}

/// As [`load_as`], whatever the file is called; `hear` is told every statement of the top level.
pub(crate) fn load_heard(
    files: &dyn Files,
    path: &Path,
    language: Language,
    reading: &Reading,
    hear: &mut dyn FnMut(&Node),
) -> Loaded {
    let strictness = reading.strictness;
    let dialect = match language {
        Language::Yaml => Dialect::Native,
        Language::Keepalived => Dialect::Keepalived,
    };
    // Made for the first unknown word: most files have none.
    let block_of = OnceCell::new();
    let belongs = |word: &str| block_of.get_or_init(|| root::block_of(language)).get(word).copied();
    let mut options = RootOptions::default();
    let mut statement = |node: &Node, diagnostics: &mut Diagnostics| {
        hear(node);
        reader(diagnostics, &belongs, language, strictness).block(
            &root::ROOT,
            std::slice::from_ref(node),
            &mut options,
        );
    };
    let text = match language {
        Language::Yaml => yaml::read(files, path, &mut statement),
        Language::Keepalived => expand::read(files, path, &mut statement),
    };
    let (sources, mut diagnostics) = (text.sources, text.diagnostics);
    if reading.is_offline {
        diagnostics.ignore_this_host();
    }
    for group in &mut options.vrrp.groups {
        group.leave_out(&text.elsewhere);
    }
    // What is lost in a block that was not read, or stands in another one, is no further problem.
    let mut unsaid = Diagnostics::default();
    let is_broken = diagnostics.any(Code::UNEVEN) || diagnostics.any(&[Code::LostBlock]);
    let said = if is_broken { &mut unsaid } else { &mut diagnostics };
    let mut reader = reader(said, &belongs, language, strictness);
    if let Some(name) = &options.net_namespace {
        enter(files, name, reading, &mut reader);
    }
    let dialect = get(&options.defaults).unwrap_or(dialect);
    options.global.ipvs.sync_by_instances(&options.vrrp.instances, &mut reader);
    let tls = TlsReader::new(files, path, &options.ssl, &mut reader);
    let log_all_failures = options.global.log_all_failures(dialect);
    let addresses: Vec<_> = options.virtual_servers.iter().filter_map(|o| o.address()).collect();
    let is_secure = get(&options.global.vrrp.secures_scripts).unwrap_or(false);
    let usual = vrrp::command::usual_user(get(&options.global.vrrp.script_user), files);
    options.global.notices.verify(files, &mut reader);
    notice::verify(&options.virtual_servers, files, &mut reader);
    let mail = options.global.mail.clone();
    let asked = mail::asked(&options);
    let sessions = &options.sessions;
    let tracked = &options.vrrp.files;
    let common = Common {
        usual: &usual,
        alerts: mail.alerts(),
        log_all_failures,
        is_secure,
        sessions,
        files: tracked,
    };
    let virtual_servers = resolve::virtual_servers(
        options.virtual_servers,
        &options.groups,
        common,
        dialect,
        &tls,
        &mut reader,
    );
    let from = checker::Inherited {
        address: (std::net::Ipv4Addr::LOCALHOST, 0).into(),
        timing: &TimingOptions::default(),
        virtualhost: None,
        tls: &tls,
        log_all_failures,
        scripts: checker::Scripts { usual: &usual, is_secure },
        sessions,
        files: &options.vrrp.files,
        dialect,
        is_track: true,
    };
    let checks = vrrp::resolve::checks(&options.vrrp, &from, &mut reader);
    let global_vrrp = options.global.vrrp.clone();
    let settings = vrrp::resolve::settings(
        &options.vrrp,
        sessions,
        &global_vrrp,
        dialect,
        files,
        mail.alerts(),
        &mut reader,
    );
    let settings = Settings { checks, ..settings };
    let follows = options.global.ipvs.sync_follows.clone();
    let net_namespace = get(&options.net_namespace);
    let global = options.global.resolve(dialect, &usual, &settings.instances);
    let global = Global { net_namespace, ..global };
    let config = Config { global, virtual_servers, vrrp: Arc::new(settings) };
    let verify = Verify {
        options: &options.vrrp,
        sessions,
        global: &global_vrrp,
        config: &config,
        sync_follows: follows.as_ref(),
        virtual_servers: &addresses,
        files,
    };
    verify.verify(&mut reader);
    global::verify_marks(&config, &mut reader);
    mail.verify(&config, asked, &mut reader);
    if config.virtual_servers.is_empty() && config.vrrp.instances.is_empty() && diagnostics.errors() == 0 {
        let text = format!("{}: there is no virtual server: nothing is directed", path.display());
        diagnostics.push(Diagnostic::new(Class::Warning, None, text).code(Code::Missing));
    }
    if let Some(Skipped { first, count, id }) = &text.skipped {
        let (lines, verb) = if *count == 1 { ("line", "is") } else { ("lines", "are") };
        let text = format!(
            "{count} {lines} {verb} skipped, this one first: `@` names another host, this one is `{id}` (`--config-id` names another)"
        );
        diagnostics.note(Code::Missing, Note { span: Some(*first), text });
    }
    if let Some(first) = text.elsewhere.first() {
        let (host, count) = (files.host(), text.elsewhere.len());
        let (blocks, verb) = if count == 1 { ("block", "is") } else { ("blocks", "are") };
        let text = format!(
            "{count} {blocks} {verb} skipped, this one first: `only_on` names another host, this one is `{host}` (`--config-id` names another)"
        );
        diagnostics.note(Code::Missing, Note { span: Some(first.span), text });
    }
    let elsewhere = text.elsewhere.iter().map(|block| elsewhere_words(block, &sources)).collect();
    diagnostics.annotate(|span| {
        let (at, definition) = sources.definition_of(span)?;
        Some(Note { span: Some(definition), text: format!("`{}` is defined here", sources.slice(at)) })
    });
    diagnostics.sort();
    diagnostics.leave_out_consequences();
    let config = (diagnostics.errors() == 0).then_some(config);
    Loaded { config, diagnostics, sources, is_silent: files.is_silent(), elsewhere }
}

/// `FILE:LINE:COLUMN: web of instances is for lb1 alone: not run here`.
fn elsewhere_words(block: &Elsewhere, sources: &Sources) -> String {
    let name = block.name.as_ref().map_or_else(|| "a block".to_owned(), |name| format!("`{name}`"));
    let words =
        format!("{name} of `{}` is for {}: not run here (only_on)", block.key, block.hosts.join(", "));
    text::line(&format!("{}: {words}", sources.describe(block.span))).into_owned()
}

/// Moves this thread into the network namespace of the configuration: what is said of the host is said of that network.
fn enter(files: &dyn Files, name: &Spanned<String>, reading: &Reading, reader: &mut Reader<'_>) {
    if reading.is_offline || reading.namespace == Namespace::Stay {
        return;
    }
    let Err(error) = files.enter_namespace(&name.value) else { return };
    let (problem, help) = namespace::in_words(&name.value, &error);
    reader.diagnostics.push(match reading.namespace {
        Namespace::Enter => Diagnostic::error(name.span, problem).help(help),
        _ => {
            let text = format!("{problem}: interfaces and addresses are looked for outside of it");
            Diagnostic::warning(name.span, text).help(help)
        }
    });
}

/// Bytes of a text without a name in which its language shows.
const LANGUAGE_SHOWS: usize = 64 << 10;

/// Whether a text without a name, such as standard input, is YAML: its first line that says something is `---`, begins a
/// mapping in braces, or is a key with its colon, which no line of keepalived.conf begins with.
fn looks_like_yaml(files: &dyn Files, path: &Path) -> bool {
    let bytes = files.read(path, LANGUAGE_SHOWS).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim_end);
    let Some(first) = lines.find(|line| !line.is_empty() && !line.trim_start().starts_with(['#', '!']))
    else {
        return false;
    };
    let is_key = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let key = first.split_once(':').filter(|(_, value)| value.is_empty() || value.starts_with([' ', '\t']));
    first == "---" || first.starts_with(['{', '%']) || key.is_some_and(|(key, _)| is_key(key))
}

fn reader<'a>(
    diagnostics: &'a mut Diagnostics,
    belongs: &'a dyn Fn(&str) -> Option<&'static str>,
    language: Language,
    strictness: Strictness,
) -> Reader<'a> {
    let is_lenient = strictness == Strictness::Lenient;
    Reader { diagnostics, belongs, language, is_lenient, skipped: None, unknown: 0 }
}
