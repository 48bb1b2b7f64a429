//! What a real server costs: less than a kilobyte of heap, configuration included, in a director that runs; and a
//! few allocations, and little more at the worst moment, while the configuration is read.
//!
//! The director directs 10,000 real servers, each with a TCP_CHECK, in virtual time over an imitated kernel, whose
//! own memory does not count. A target of its own, without the test harness: its allocator counts every byte.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lvsd::internals::check::Outcome;
use lvsd::internals::check::RunId;
use lvsd::internals::config::Files;
use lvsd::internals::config::load_from;
use lvsd::internals::config::{Config, Strictness};
use lvsd::internals::director::Instant;
use lvsd::internals::director::Request;
use lvsd::internals::director::State;
use lvsd::internals::director::{Director, Effect, Input};
use lvsd::internals::ipvs::Backend;
use lvsd::internals::ipvs::MemoryBackend;

/// How many real servers there are.
const REAL_SERVERS: usize = 10_000;
/// What one of them may cost, in bytes.
const LIMIT: usize = 1024;
/// What one of them may cost at the worst moment of reading, the text included.
const READING_LIMIT: usize = 1800;
/// How many allocations one of them may take to read.
const READING_CALLS: usize = 8;

fn main() {
    measure_reading();
    for virtual_servers in [1000, 50] {
        measure(virtual_servers);
    }
}

/// What reading takes: what is counted here does not depend on the machine, as time would.
fn measure_reading() {
    let text = configuration(1000, 1);
    let (before, calls) = (live(), CALLS.load(Ordering::Relaxed));
    PEAK.store(before, Ordering::Relaxed);
    let config = read(text);
    let calls = (CALLS.load(Ordering::Relaxed) - calls) / REAL_SERVERS;
    let bytes = (PEAK.load(Ordering::Relaxed) - before) / REAL_SERVERS;
    drop(config);
    println!(
        "{REAL_SERVERS} real servers read, each: {calls} allocations, {bytes} bytes at the worst moment"
    );
    assert!(
        calls < READING_CALLS,
        "{calls} allocations to read a real server, not less than {READING_CALLS}"
    );
    assert!(bytes < READING_LIMIT, "{bytes} bytes to read a real server, not less than {READING_LIMIT}");
}

/// A director's heap, from its configuration's text to a table that stands, and after a reload.
fn measure(virtual_servers: usize) {
    let before = live();
    let config = read(configuration(virtual_servers, 1));
    let configured = each(before);
    let mut world = World::new(config);
    let begun = each(before);
    world.run(Duration::from_secs(300));
    let running = world.weigh(before);
    world.tell(Input::Reload(read(configuration(virtual_servers, 2))));
    world.run(Duration::from_secs(300));
    let reloaded = world.weigh(before);
    println!(
        "{REAL_SERVERS} real servers of {virtual_servers} virtual servers, bytes each: configuration {configured}, \
         director begun {begun}, running {running}, after a reload {reloaded}"
    );
    for (bytes, when) in [(running, "in a director that runs"), (reloaded, "after a reload")] {
        assert!(bytes < LIMIT, "a real server costs {bytes} bytes {when}; less than {LIMIT} is promised");
    }
}

/// Bytes for each real server that are live now and were not then.
fn each(before: usize) -> usize {
    (live() - before) / REAL_SERVERS
}

fn read(text: String) -> Arc<Config> {
    let loaded = load_from(&OneFile(text), Path::new("lvsd.conf"), Strictness::Strict);
    Arc::new(loaded.config.expect("a configuration without errors"))
}

fn configuration(virtual_servers: usize, weight: u32) -> String {
    let mut text = String::new();
    for v in 0..virtual_servers {
        let (high, low) = (v / 250, v % 250);
        let _ = writeln!(text, "virtual_server 10.10.{high}.{low} 80 {{");
        text.push_str("    lb_algo wrr\n    lb_kind NAT\n    protocol TCP\n");
        for r in 0..REAL_SERVERS / virtual_servers {
            let _ = writeln!(text, "    real_server 10.{}.{low}.{r} 80 {{", 20 + high);
            let _ = writeln!(text, "        weight {weight}\n        TCP_CHECK {{\n        }}\n    }}");
        }
        text.push_str("}\n");
    }
    text
}

/// The director, its kernel, and servers that accept every connection.
struct World {
    director: Director,
    kernel: MemoryBackend,
    now: Instant,
    runs: VecDeque<RunId>,
    requests: VecDeque<Request>,
}

impl World {
    fn new(config: Arc<Config>) -> World {
        let now = Instant::ZERO + Duration::from_secs(1);
        World {
            director: Director::new(config, State::default(), 1, now),
            kernel: MemoryBackend::new(),
            now,
            runs: VecDeque::new(),
            requests: VecDeque::new(),
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            if let Some(request) = self.requests.pop_front() {
                let answer = match request {
                    Request::Snapshot(scope) => Input::Snapshot(self.kernel.snapshot(&scope)),
                    Request::Apply(ops) => Input::Applied(self.kernel.apply(&ops)),
                };
                self.tell(answer);
            } else if let Some(run) = self.runs.pop_front() {
                self.tell(Input::ProbeDone { run, outcome: Outcome::pass("connected") });
            } else {
                let deadline =
                    self.director.deadline().expect("a director that runs has something to wait for");
                self.now = self.now.max(deadline);
                self.tell(Input::Wake);
            }
        }
    }

    fn tell(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.director.handle(self.now, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::StartProbe { run, .. } => self.runs.push_back(run),
                Effect::Kernel(request) => self.requests.push_back(request),
                _ => {}
            }
        }
    }

    /// What the director alone costs for each real server, once its kernel holds all of them.
    fn weigh(&mut self, before: usize) -> usize {
        let table = self.kernel.table().values();
        let destinations: usize = table.map(|service| service.destinations.len()).sum();
        assert_eq!((destinations, self.director.status(self.now).is_converged), (REAL_SERVERS, true));
        let with_kernel = live();
        let kernel = self.kernel.clone();
        let kernel_alone = live() - with_kernel;
        drop(kernel);
        (live() - before - kernel_alone) / REAL_SERVERS
    }
}

struct OneFile(String);

impl Files for OneFile {
    fn read(&self, _path: &Path, _limit: usize) -> io::Result<Vec<u8>> {
        Ok(self.0.clone().into_bytes())
    }

    fn host(&self) -> String {
        "director".to_owned()
    }

    fn exists(&self, _path: &Path) -> bool {
        true
    }

    fn list(&self, _directory: &Path, _limit: usize) -> std::io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// The system's allocator, counting what is live, the most there ever was, and how often it was called.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        CALLS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}
