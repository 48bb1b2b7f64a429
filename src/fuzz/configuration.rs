//! Both languages of the configuration, and what must hold of every answer.

use std::io;
use std::path::Path;

use crate::cli::check::report;
use crate::config::Strictness;
use crate::config::load::load_from;
use crate::daemon::startup::Exit;
use crate::syntax::diagnostic::Diagnostics;
use crate::syntax::expand;
use crate::syntax::files::{Files, MemoryFiles};
use crate::syntax::print::Print;
use crate::syntax::tree::Node;

/// Longest report, in bytes.
const MAX_REPORT: usize = 16 << 20;

/// Reads and reports on a configuration: there is a verdict, and it is the right one for the number of errors.
pub(super) fn judge(is_yaml: bool, text: &[u8]) {
    let path = Path::new(path(is_yaml));
    let files = NeighbouringFiles::new(is_yaml, text.to_vec());
    for strictness in [Strictness::Strict, Strictness::Lenient] {
        let loaded = load_from(&files, path, strictness);
        let errors = loaded.diagnostics.errors();
        assert_eq!(loaded.config.is_some(), errors == 0);
        assert!(loaded.diagnostics.iter().count() <= 2 * Diagnostics::MAX_KEPT);
        let report = report(path, &loaded, false);
        assert_eq!(report.exit == Exit::Ok, errors == 0);
        assert!(!report.text.is_empty() && report.text.len() < MAX_REPORT);
    }
}

/// Expands a configuration in keepalived's language, prints it, and reads what was printed.
pub(super) fn reads_back(text: &[u8]) {
    let (first, errors) = statements(&NeighbouringFiles::new(false, text.to_vec()), Path::new(path(false)));
    let printed = Print(&first).to_string();
    // The language has no escape for a dollar: a word with one may be another word when read again.
    if errors == 0 && !printed.contains('$') {
        let (second, _) = statements(&MemoryFiles::new(&[("k", &printed)]), Path::new("k"));
        assert_eq!(first, second, "{printed:?}");
    }
}

fn statements(files: &dyn Files, path: &Path) -> (Vec<Node>, usize) {
    let mut nodes = Vec::new();
    let text = expand::read(files, path, &mut |node, _| nodes.push(node.clone()));
    (nodes, text.diagnostics.errors())
}

/// The path a text of a language is read from.
pub(crate) fn path(is_yaml: bool) -> &'static str {
    if is_yaml { "/etc/lvsd/lvsd.yaml" } else { "/etc/keepalived/keepalived.conf" }
}

/// A configuration, among a few files that it may include.
pub(crate) struct NeighbouringFiles(MemoryFiles);

impl NeighbouringFiles {
    pub(crate) fn new(is_yaml: bool, text: Vec<u8>) -> NeighbouringFiles {
        let mut files = MemoryFiles::new(&[
            ("/etc/keepalived/loop.conf", "include loop.conf\n"),
            ("/etc/keepalived/open.conf", "virtual_server 192.0.2.99 80 {\n"),
            ("/etc/keepalived/conf.d/a.conf", "global_defs {\n    router_id a\n}\n"),
            ("/etc/keepalived/conf.d/b.txt", "nonsense\n"),
            ("/etc/keepalived/checks.conf", "TCP_CHECK {\n    connect_timeout 3\n}\n"),
        ]);
        files.0.insert(path(is_yaml).into(), text);
        NeighbouringFiles(files)
    }
}

impl Files for NeighbouringFiles {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        match path.to_str() {
            Some("/etc/keepalived/conf.d") => Err(io::ErrorKind::IsADirectory.into()),
            Some("/etc/keepalived/secret.conf") => Err(io::ErrorKind::PermissionDenied.into()),
            _ => self.0.read(path, limit),
        }
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.exists(path)
    }

    fn host(&self) -> String {
        self.0.host()
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.0.variable(name)
    }

    fn list(&self, directory: &Path, limit: usize) -> io::Result<Vec<String>> {
        self.0.list(directory, limit)
    }
}
