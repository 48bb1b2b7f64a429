//! Regular expressions over bodies: PCRE2, as keepalived's `regex`.
//!
//! A search runs on a thread of its own and ends when its check no longer waits for it; steps and memory are bounded,
//! so that neither an unlucky expression nor a hostile body can stop the director. What the safe crate over PCRE2 lacks
//! (most options, limits, cancelling) is why this module calls the C library itself.

use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pcre2_sys as pcre2;

use super::spec::pattern::Pattern;

/// keepalived's `regex_options`, and PCRE2's bits for them.
pub(crate) const OPTIONS: &[(&str, u32)] = &[
    ("allow_empty_class", pcre2::PCRE2_ALLOW_EMPTY_CLASS),
    ("alt_bsux", pcre2::PCRE2_ALT_BSUX),
    ("alt_circumflex", pcre2::PCRE2_ALT_CIRCUMFLEX),
    ("alt_verbnames", pcre2::PCRE2_ALT_VERBNAMES),
    ("auto_callout", pcre2::PCRE2_AUTO_CALLOUT),
    ("caseless", pcre2::PCRE2_CASELESS),
    ("dollar_endonly", pcre2::PCRE2_DOLLAR_ENDONLY),
    ("dotall", pcre2::PCRE2_DOTALL),
    ("dupnames", pcre2::PCRE2_DUPNAMES),
    ("extended", pcre2::PCRE2_EXTENDED),
    ("firstline", pcre2::PCRE2_FIRSTLINE),
    ("match_unset_backref", pcre2::PCRE2_MATCH_UNSET_BACKREF),
    ("multiline", pcre2::PCRE2_MULTILINE),
    ("never_backslash_c", pcre2::PCRE2_NEVER_BACKSLASH_C),
    ("never_ucp", pcre2::PCRE2_NEVER_UCP),
    ("never_utf", pcre2::PCRE2_NEVER_UTF),
    ("no_auto_capture", pcre2::PCRE2_NO_AUTO_CAPTURE),
    ("no_auto_possess", pcre2::PCRE2_NO_AUTO_POSSESS),
    ("no_dotstar_anchor", pcre2::PCRE2_NO_DOTSTAR_ANCHOR),
    ("no_start_optimize", pcre2::PCRE2_NO_START_OPTIMIZE),
    ("ucp", pcre2::PCRE2_UCP),
    ("ungreedy", pcre2::PCRE2_UNGREEDY),
    ("use_offset_limit", pcre2::PCRE2_USE_OFFSET_LIMIT),
    ("utf", pcre2::PCRE2_UTF),
];

/// Most steps from one place of the body.
const STEPS: u32 = 10_000_000;
/// Most memory for one search, in KiB.
const MEMORY: u32 = 64 * 1024;

/// Why a search has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// The body is not what the expression is about.
    #[error("the body is not UTF-8, as the regex wants it")]
    NotUtf8,
    /// It costs too much.
    #[error("the regex gives up on this body: {0}")]
    GaveUp(String),
}

/// Whether the expression can be compiled.
///
/// # Errors
/// Why it is not an expression, and before which byte of it that shows.
pub(crate) fn verify(pattern: &Pattern) -> Result<(), (String, usize)> {
    compile(pattern).map(|_| ())
}

fn compile(pattern: &Pattern) -> Result<Code, (String, usize)> {
    let limit = if pattern.max_offset.is_some() { pcre2::PCRE2_USE_OFFSET_LIMIT } else { 0 };
    Code::new(&pattern.text, pattern.options | limit)
}

/// Whether a body matches, found on a thread of its own; dropping the future ends the search. The expression is compiled
/// there, each time: that takes microseconds, and the specification stays plain data.
///
/// # Errors
/// When it cannot be told.
pub(super) async fn search(pattern: &Pattern, body: Vec<u8>) -> Result<bool, NoAnswer> {
    let stop = Arc::new(AtomicBool::new(false));
    let _stop = StopOnDrop(Arc::clone(&stop));
    let pattern = pattern.clone();
    let search = tokio::task::spawn_blocking(move || {
        let code = compile(&pattern).map_err(|(reason, _)| NoAnswer::GaveUp(reason))?;
        code.is_match(&body, pattern.min_offset, pattern.max_offset, &stop)
    });
    search.await.unwrap_or_else(|error| Err(NoAnswer::GaveUp(error.to_string())))
}

/// Ends a search whose check no longer waits for it.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A compiled expression.
struct Code(NonNull<pcre2::pcre2_code_8>);

impl Code {
    #[allow(unsafe_code)]
    fn new(text: &[u8], options: u32) -> Result<Code, (String, usize)> {
        let (mut error, mut offset) = (0, 0);
        // Callouts are where a search can be stopped.
        let options = options | pcre2::PCRE2_AUTO_CALLOUT;
        // SAFETY: `text` is readable for its length, and error and offset are writable during the call; a null
        // context stands for the default one.
        let code = unsafe {
            pcre2::pcre2_compile_8(
                text.as_ptr(),
                text.len(),
                options,
                &raw mut error,
                &raw mut offset,
                ptr::null_mut(),
            )
        };
        NonNull::new(code).map(Code).ok_or_else(|| (message(error), offset))
    }

    /// Whether UTF is on, by option or by the expression's own `(*UTF)`.
    #[allow(unsafe_code)]
    fn is_utf(&self) -> bool {
        let mut options: u32 = 0;
        // SAFETY: the code is valid as long as self, and PCRE2_INFO_ALLOPTIONS writes one u32.
        unsafe {
            pcre2::pcre2_pattern_info_8(
                self.0.as_ptr(),
                pcre2::PCRE2_INFO_ALLOPTIONS,
                (&raw mut options).cast(),
            );
        }
        options & pcre2::PCRE2_UTF != 0
    }

    /// Whether it matches, beginning within these offsets, unless it is stopped before that is known.
    #[allow(unsafe_code)]
    fn is_match(
        &self,
        body: &[u8],
        min: usize,
        max: Option<usize>,
        stop: &AtomicBool,
    ) -> Result<bool, NoAnswer> {
        if min > body.len() || max.is_some_and(|max| max < min) {
            return Ok(false);
        }
        let mut min = min;
        if self.is_utf() {
            let text = std::str::from_utf8(body).map_err(|_| NoAnswer::NotUtf8)?;
            while !text.is_char_boundary(min) {
                min += 1;
            }
        }
        // SAFETY: what is created here is freed here, after its last use; all of it is this thread's alone but
        // the code, which is not changed, and `stop`, which outlives the call. A null pointer where memory ran
        // out is not used. `body` is readable for its length, and `min` is not behind its end.
        let result = unsafe {
            let data = pcre2::pcre2_match_data_create_8(1, ptr::null_mut());
            let context = pcre2::pcre2_match_context_create_8(ptr::null_mut());
            let result = if data.is_null() || context.is_null() {
                pcre2::PCRE2_ERROR_NOMEMORY
            } else {
                pcre2::pcre2_set_match_limit_8(context, STEPS);
                pcre2::pcre2_set_heap_limit_8(context, MEMORY);
                if let Some(max) = max {
                    pcre2::pcre2_set_offset_limit_8(context, max);
                }
                let stop = ptr::from_ref(stop).cast_mut().cast();
                pcre2_set_callout_8(context, Some(stop_if_asked), stop);
                let (body, length) = (body.as_ptr(), body.len());
                pcre2::pcre2_match_8(self.0.as_ptr(), body, length, min, 0, data, context)
            };
            pcre2::pcre2_match_context_free_8(context);
            pcre2::pcre2_match_data_free_8(data);
            result
        };
        match result {
            pcre2::PCRE2_ERROR_NOMATCH => Ok(false),
            error if error < 0 => Err(NoAnswer::GaveUp(message(error))),
            _ => Ok(true),
        }
    }
}

impl Drop for Code {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: it came from pcre2_compile, and this is its only owner.
        unsafe { pcre2::pcre2_code_free_8(self.0.as_ptr()) }
    }
}

/// What is called at a callout; its block is not looked at.
type Callout = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;

// The one function of the library that its crate does not declare.
#[allow(unsafe_code)]
unsafe extern "C" {
    fn pcre2_set_callout_8(
        context: *mut pcre2::pcre2_match_context_8,
        callout: Option<Callout>,
        data: *mut c_void,
    ) -> c_int;
}

/// PCRE2 asks before each item of the expression whether to go on.
#[allow(unsafe_code)]
unsafe extern "C" fn stop_if_asked(_block: *mut c_void, stop: *mut c_void) -> c_int {
    // SAFETY: `is_match` hands over its AtomicBool, which outlives the search.
    let stop = unsafe { &*stop.cast::<AtomicBool>() };
    if stop.load(Ordering::Relaxed) { pcre2::PCRE2_ERROR_CALLOUT } else { 0 }
}

/// PCRE2's words for an error.
#[allow(unsafe_code)]
fn message(error: c_int) -> String {
    let mut buffer = [0_u8; 256];
    // SAFETY: the buffer is writable for its length, and PCRE2 writes no more than that.
    let length = unsafe { pcre2::pcre2_get_error_message_8(error, buffer.as_mut_ptr(), buffer.len()) };
    let text = usize::try_from(length).ok().and_then(|length| buffer.get(..length));
    text.map_or_else(|| format!("PCRE2 error {error}"), |text| String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_body_matches_as_pcre2_has_it() {
        for (text, options, body, want) in [
            ("wor", &[][..], "hello world\n", true),
            ("^wor", &[], "hello world\n", false),
            ("^wor", &["multiline"], "hello\nworld\n", true),
            ("HELLO", &["caseless"], "hello\n", true),
            ("a.b", &[], "a\nb", false),
            ("a.b", &["dotall"], "a\nb", true),
            ("a b", &["extended"], "ab", true),
            (r"(?<!no )error", &[], "no error", false),
            (r"(\w+) \1", &[], "very very", true),
            (r"\bok\b", &[], "it is ok.", true),
            ("é", &[], "caf\u{e9}", true),
            ("^.$", &[], "é", false),
            ("^.$", &["utf"], "é", true),
            ("(*UTF)^.$", &[], "é", true),
            ("", &[], "", true),
        ] {
            let found = search(&pattern(text, options), body.into()).await;
            assert_eq!(found, Ok(want), "{text} {options:?} in {body:?}");
        }
    }

    #[tokio::test]
    async fn offsets_bound_where_a_match_begins_both_included() {
        for (min, max, want) in [
            (0, None, true),
            (6, None, true),
            (7, None, false),
            (0, Some(6), true),
            (0, Some(5), false),
            (6, Some(6), true),
            (7, Some(6), false),
            (100, None, false),
            (0, Some(100), true),
        ] {
            let pattern = Pattern::new(b"world", 0, (min, max), false);
            assert_eq!(search(&pattern, b"hello world".to_vec()).await, Ok(want), "{min} {max:?}");
        }
        // What stands before is still seen, and no character is cut.
        let behind = Pattern::new(b"(?<=hello )world", 0, (6, None), false);
        assert_eq!(search(&behind, b"hello world".to_vec()).await, Ok(true));
        let cut = Pattern::new("b".as_bytes(), bits(&["utf"]), (1, None), false);
        assert_eq!(search(&cut, "éb".into()).await, Ok(true));
    }

    #[tokio::test]
    async fn bodies_that_are_no_text_are_searched_by_bytes_unless_utf_is_wanted() {
        let body = vec![0xff, 0xfe, b'o', b'k', 0];
        assert_eq!(search(&pattern("ok", &[]), body.clone()).await, Ok(true));
        assert_eq!(search(&Pattern::new(b"\xff\xfe", 0, (0, None), false), body.clone()).await, Ok(true));
        assert_eq!(search(&pattern("ok", &["utf"]), body).await, Err(NoAnswer::NotUtf8));
    }

    #[tokio::test]
    async fn an_expression_that_runs_away_gives_up() {
        let body = [vec![b'a'; 1000], vec![b'b']].concat();
        let gave_up = search(&pattern("(a+)+$", &[]), body).await.unwrap_err();
        assert_eq!(gave_up.to_string(), "the regex gives up on this body: match limit exceeded");
        let gave_up = search(&pattern("(?:(x)|(y))*z", &["no_start_optimize"]), vec![b'x'; 1 << 20]).await;
        assert_eq!(gave_up.unwrap_err().to_string(), "the regex gives up on this body: heap limit exceeded");
    }

    #[test]
    fn a_search_nobody_waits_for_ends() {
        // Some 10^9 steps, none of them too many from one place: a minute.
        let slow = pattern("a+a+a+[bc]", &["no_auto_possess"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let search = search(&slow, vec![b'a'; 1500]);
            assert!(tokio::time::timeout(Duration::from_millis(50), search).await.is_err());
        });
        let (end, ended) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            // Waits for the thread that searches.
            drop(runtime);
            end.send(())
        });
        ended.recv_timeout(Duration::from_secs(3)).expect("the search has ended");
    }

    #[test]
    fn what_is_no_expression_is_told_with_its_place() {
        for (text, options, reason, offset) in [
            ("a(b", &[][..], "missing closing parenthesis", 3),
            ("a[b", &[], "missing terminating ] for character class", 3),
            ("*a", &[], "quantifier does not follow a repeatable item", 0),
            ("(*UTF)a", &["never_utf"], "using UTF is disabled by the application", 6),
        ] {
            let wrong = verify(&Pattern::new(text.as_bytes(), bits(options), (0, None), false)).unwrap_err();
            assert_eq!((wrong.0.as_str(), wrong.1), (reason, offset), "{text}");
        }
    }

    #[test]
    fn patterns_are_equal_when_all_that_was_written_is() {
        let one = pattern("a", &["utf"]);
        assert_eq!(one, pattern("a", &["utf"]));
        for other in [
            pattern("b", &["utf"]),
            pattern("a", &[]),
            Pattern::new(b"a", bits(&["utf"]), (1, None), false),
            Pattern::new(b"a", bits(&["utf"]), (0, Some(1)), false),
            Pattern::new(b"a", bits(&["utf"]), (0, None), true),
        ] {
            assert_ne!(one, other);
        }
    }

    fn pattern(text: &str, options: &[&str]) -> Pattern {
        Pattern::new(text.as_bytes(), bits(options), (0, None), false)
    }

    fn bits(options: &[&str]) -> u32 {
        let bit = |name: &&str| OPTIONS.iter().find(|(n, _)| n == name).unwrap().1;
        options.iter().map(bit).fold(0, |all, bit| all | bit)
    }
}
