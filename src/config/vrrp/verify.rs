//! What VRRP's blocks say of each other, and of this host.

use std::collections::BTreeMap;
use std::path::Path;

use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::files::Files;
use crate::syntax::keyword::{Reader, Slot, get, nearest};
use crate::syntax::source::Span;
use crate::syntax::tree::Word;

use super::VrrpOptions;
use super::track::Tracked;

/// Where the kernel shows its interfaces.
const INTERFACES: &str = "/sys/class/net";

/// Says what does not go together, and what this host does not have.
pub fn verify(options: &VrrpOptions, is_strict: &Slot<bool>, files: &dyn Files, reader: &mut Reader<'_>) {
    let instances = unique("vrrp_instance", options.instances.iter().map(|i| &i.name), reader);
    unique("vrrp_sync_group", options.groups.iter().map(|g| &g.name), reader);
    let scripts = unique("vrrp_script", options.scripts.iter().map(|s| &s.name), reader);
    for script in &options.scripts {
        let Some(command) = &script.command else { continue };
        let path = command.value.split_whitespace().next().unwrap_or_default();
        if path.starts_with('/') && !files.exists(Path::new(path)) {
            let text = format!("vrrp_script {}: {path}: there is no such file", script.name.text);
            let help = "keepalived leaves such a script out, as if it never failed";
            reader.diagnostics.push(Diagnostic::warning(command.span, text).help(help));
        }
    }
    for instance in &options.instances {
        if let Some(interface) = &instance.interface {
            on_this_host(&interface.value, interface.span, files, reader);
        }
        if let (Some(at), true) =
            (instance.authentication, get(&instance.is_strict).or(get(is_strict)).unwrap_or(false))
        {
            let text =
                format!("vrrp_instance {}: authentication is ignored in strict mode", instance.name.text);
            let problem =
                Diagnostic::warning(at, text).help("remove it, or strict mode: VRRP has no authentication");
            let strict = instance.is_strict.as_ref().or(is_strict.as_ref()).map(|s| s.span);
            reader.diagnostics.push(match strict {
                Some(span) => problem.at(span, "strict mode is set here"),
                None => problem,
            });
        }
        followed(&instance.tracked, &scripts, files, reader);
    }
    for group in &options.groups {
        followed(&group.tracked, &scripts, files, reader);
        for member in &group.members {
            is_there("vrrp_instance", member, &instances, reader);
        }
    }
}

/// The names of one kind of block; says which are given twice.
fn unique<'a>(
    kind: &str,
    names: impl Iterator<Item = &'a Word>,
    reader: &mut Reader<'_>,
) -> BTreeMap<&'a str, Span> {
    let mut found: BTreeMap<&str, Span> = BTreeMap::new();
    for name in names {
        match found.get(&*name.text) {
            Some(first) => {
                let text = format!("{kind} {} is defined twice", name.text);
                let problem = Diagnostic::error(name.span, text).at(*first, "the first one is here");
                reader.diagnostics.push(problem);
            }
            None => {
                found.insert(&name.text, name.span);
            }
        }
    }
    found
}

fn followed(tracked: &Tracked, scripts: &BTreeMap<&str, Span>, files: &dyn Files, reader: &mut Reader<'_>) {
    for interface in &tracked.interfaces {
        on_this_host(interface, interface.span, files, reader);
    }
    for script in &tracked.scripts {
        is_there("vrrp_script", script, scripts, reader);
    }
}

/// keepalived goes on without what is not defined.
fn is_there(kind: &str, name: &Word, defined: &BTreeMap<&str, Span>, reader: &mut Reader<'_>) {
    if defined.contains_key(&*name.text) {
        return;
    }
    let problem = Diagnostic::warning(name.span, format!("there is no {kind} `{}`", name.text));
    let help = match nearest(name, defined.keys().copied()) {
        Some(likely) => format!("did you mean `{likely}`?"),
        None => format!("define it with `{kind} {} {{ ... }}`, or remove it here", name.text),
    };
    reader.diagnostics.push(problem.help(help));
}

fn on_this_host(interface: &str, span: Span, files: &dyn Files, reader: &mut Reader<'_>) {
    let all = Path::new(INTERFACES);
    // A name with a slash is no interface's, and must not be looked for elsewhere.
    let is_name = !interface.contains('/') && !matches!(interface, "" | "." | "..");
    if files.exists(all) && !(is_name && files.exists(&all.join(interface))) {
        let problem = Diagnostic::warning(span, format!("this host has no interface `{interface}`"));
        reader.diagnostics.push(problem.help("`ip link` lists those it has"));
    }
}
