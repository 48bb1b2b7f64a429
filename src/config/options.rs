//! [`options!`]: the options of a block and their keywords, each declared once.
//!
//! ```text
//! options! {
//!     /// A real server as it was written.
//!     pub(crate) struct RealServerOptions {
//!         /// Connections above which it gets no new ones; 0 is no limit.
//!         pub(crate) upper_threshold: Slot<u32> = number("uthreshold", 0, i32::MAX as u32).yaml(&["upper_threshold"]), default 0;
//!     }
//! }
//! ```
//!
//! makes the field `upper_threshold`, the keyword `uthreshold` in the list `RealServerOptions::keywords()`, its
//! meaning (the doc comment) in the listing and the schema, and the method `upper_threshold(dialect)`, which gives the
//! value that was written, else the default. What a row may be:
//!
//! - `FIELD: TYPE = FORM(ARGUMENTS)...;` a keyword of one of the forms of [`crate::syntax::keyword`], stored there;
//! - `FIELD: TYPE = FORM(=> READ; ARGUMENTS)...;` the same, read by `READ(&mut field, node, reader)`, and by
//!   `READ(&mut field, node, reader, MORE)` where `READ[MORE]` is written;
//! - `_ = FORM(@FIELD; ARGUMENTS)...;` another keyword of a field, which may be one of an included part (`@tls.verify`);
//! - `_ = FORM(@FIELD => READ; ARGUMENTS)...;` the same, read by a function;
//! - `_ = FORM(=> READ; ARGUMENTS)...;` a keyword that is read into all options of the block;
//! - `_ = FORM(ARGUMENTS)...;` a keyword that stores nothing;
//! - `FIELD: TYPE;` a field without a keyword;
//! - `include FIELD: TYPE;` other options that are a part of these, with keywords of their own.
//!
//! A field may end with `, default VALUE` or `, default VALUE, native VALUE`: keepalived's default, and that of lvsd's
//! own dialect where it differs. `inherited struct` adds `or`, which takes what is not written from the same options
//! of an outer block. `struct NAME for TRAIT` lets the rows use what `TRAIT` says of the including block, `T`.

use crate::syntax::keyword::Spanned;

/// The value of a slot.
pub(crate) trait Written {
    type Value;
}

impl<V> Written for Option<Spanned<V>> {
    type Value = V;
}

macro_rules! options {
    ($(#[$meta:meta])* inherited $vis:vis struct $name:ident $(for $bound:ident)? { $($rows:tt)* }) => {
        options! { @row [$(#[$meta])* $vis struct $name] [$($bound)?] [inherited] [] [] [] [] $($rows)* }
    };
    ($(#[$meta:meta])* $vis:vis struct $name:ident $(for $bound:ident)? { $($rows:tt)* }) => {
        options! { @row [$(#[$meta])* $vis struct $name] [$($bound)?] [] [] [] [] [] $($rows)* }
    };

    // A part.
    (@row $head:tt $bound:tt $inherited:tt [$($field:tt)*] $slots:tt $keyword:tt [$($more:tt)*]
     include $vis:vis $name:ident: $part:ty; $($rest:tt)*) => {
        options! { @row $head $bound $inherited [$($field)* $vis $name: $part,] $slots $keyword [$($more)* (part $name $part)] $($rest)* }
    };
    // A keyword without a field of its own.
    (@row $head:tt $bound:tt $inherited:tt $field:tt $slots:tt [$($keyword:tt)*] $more:tt
     $(#[doc = $doc:literal])* _ = $form:ident ($($argument:tt)*) $(.$with:ident ($($value:tt)*))*; $($rest:tt)*) => {
        options! { @row $head $bound $inherited $field $slots
            [$($keyword)* ([] $form [$($argument)*] [.doc(concat!($($doc),*)) $(.$with($($value)*))*])] $more $($rest)* }
    };
    // A keyword and its field.
    (@row $head:tt $bound:tt $inherited:tt [$($field:tt)*] [$($slot:ident)*] [$($keyword:tt)*] [$($more:tt)*]
     $(#[doc = $doc:literal])* $vis:vis $name:ident: $type:ty = $form:ident ($($argument:tt)*) $(.$with:ident ($($value:tt)*))*
     $(, default $default:expr $(, native $native:expr)?)?; $($rest:tt)*) => {
        options! { @row $head $bound $inherited [$($field)* $vis $name: $type,] [$($slot)* $name]
            [$($keyword)* ([$name] $form [$($argument)*] [.doc(concat!($($doc),*)) $(.$with($($value)*))*])]
            [$($more)* $((default $name $type, $default $(, $native)?))?] $($rest)* }
    };
    // A field without a keyword.
    (@row $head:tt $bound:tt $inherited:tt [$($field:tt)*] $slots:tt $keyword:tt $more:tt
     $(#[$meta:meta])* $vis:vis $name:ident: $type:ty; $($rest:tt)*) => {
        options! { @row $head $bound $inherited [$($field)* $(#[$meta])* $vis $name: $type,] $slots $keyword $more $($rest)* }
    };
    (@row [$(#[$meta:meta])* $vis:vis struct $name:ident] [$($bound:ident)?] $inherited:tt [$($field:tt)*] $slots:tt [$($keyword:tt)*] [$($more:tt)*]) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $name { $($field)* }

        impl $name {
            /// Their keywords, for a block that has these options.
            #[allow(unused, reason = "not every block of options has keywords, nor does each use all that a row may say")]
            $vis const fn keywords<T: $crate::syntax::keyword::Includes<$name> $(+ $bound)?>()
            -> &'static [$crate::syntax::keyword::Keyword<T>] {
                use $crate::syntax::keyword::*;
                const { &[$(options! { @keyword T $name $keyword }),*] }
            }
        }

        options! { @inherited $inherited $name $slots }
        $(options! { @more $name $more })*
    };

    (@keyword $T:ident $name:ident ([$($own:ident)?] $form:ident [@ $place:ident $(.$within:ident)* => $read:path; $($argument:tt)*] [$($with:tt)*])) => {
        $form(|o: &mut $T, n, r| $read(&mut Includes::<$name>::part(o).$place $(.$within)*, n, r), $($argument)*) $($with)*
    };
    (@keyword $T:ident $name:ident ([$($own:ident)?] $form:ident [@ $place:ident $(.$within:ident)* => $read:path [$($extra:tt)*]; $($argument:tt)*] [$($with:tt)*])) => {
        $form(|o: &mut $T, n, r| $read(&mut Includes::<$name>::part(o).$place $(.$within)*, n, r, $($extra)*), $($argument)*) $($with)*
    };
    (@keyword $T:ident $name:ident ([$($own:ident)?] $form:ident [@ $place:ident $(.$within:ident)*; $($argument:tt)*] [$($with:tt)*])) => {
        $form(|o: &mut $T| &mut Includes::<$name>::part(o).$place $(.$within)*, $($argument)*) $($with)*
    };
    (@keyword $T:ident $name:ident ([] $form:ident [=> $read:path $([$($extra:tt)*])?; $($argument:tt)*] [$($with:tt)*])) => {
        $form(|o: &mut $T, n, r| $read(Includes::<$name>::part(o), n, r $(, $($extra)*)?), $($argument)*) $($with)*
    };
    (@keyword $T:ident $name:ident ([] $form:ident [$($argument:tt)*] [$($with:tt)*])) => {
        $form($($argument)*) $($with)*
    };
    (@keyword $T:ident $name:ident ([$own:ident] $form:ident [=> $read:path $([$($extra:tt)*])?; $($argument:tt)*] [$($with:tt)*])) => {
        $form(|o: &mut $T, n, r| $read(&mut Includes::<$name>::part(o).$own, n, r $(, $($extra)*)?), $($argument)*) $($with)*
    };
    (@keyword $T:ident $name:ident ([$own:ident] $form:ident [$($argument:tt)*] [$($with:tt)*])) => {
        $form(|o: &mut $T| &mut Includes::<$name>::part(o).$own, $($argument)*) $($with)*
    };

    (@inherited [] $name:ident $slots:tt) => {};
    (@inherited [inherited] $name:ident [$($slot:ident)*]) => {
        impl $name {
            /// These options, with what they leave open taken from `outer`.
            #[must_use]
            pub(crate) fn or(self, outer: &$name) -> $name {
                $name { $($slot: self.$slot.or_else(|| outer.$slot.clone())),* }
            }
        }
    };
    (@more $name:ident (part $field:ident $part:ty)) => {
        impl $crate::syntax::keyword::Includes<$part> for $name {
            fn part(&mut self) -> &mut $part {
                &mut self.$field
            }
        }
    };
    (@more $name:ident (default $field:ident $type:ty, $default:expr)) => {
        options! { @more $name (default $field $type, $default, $default) }
    };
    (@more $name:ident (default $field:ident $type:ty, $default:expr, $native:expr)) => {
        impl $name {
            /// What was written, else the default.
            pub(crate) fn $field(&self, dialect: $crate::config::defaults::Dialect) -> <$type as $crate::config::options::Written>::Value {
                self.$field.as_ref().map(|written| written.value.clone()).unwrap_or_else(|| match dialect {
                    $crate::config::defaults::Dialect::Keepalived => $default,
                    $crate::config::defaults::Dialect::Native => $native,
                })
            }
        }
    };
}

pub(crate) use options;
