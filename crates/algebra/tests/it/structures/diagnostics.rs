//! What the compiler says, at which line, to who derives what cannot be: read from its JSON, by key phrases only, so
//! that another release may word the rest as it likes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use serde_json::Value;

/// Each line with a comment `// ! phrase | phrase` must get an error, on that line, that holds the phrases in its
/// text or its notes.
const FIELDS: &str = r#"
use algebra::codec::Codec;
use algebra::{Commutative, Group, Idempotent, Max, Monoid, Semigroup};
use std::collections::BTreeMap;

#[derive(Semigroup)]
pub struct Usage {
    pub events: u64,
    pub seconds: f64, // ! `f64` has no associative sum | instead of a float take `Sum` (or `ExactSum`
    pub seen: bool, // ! `bool` has no associative sum | take `All` (and) or `Any` (or)
    pub by_key: BTreeMap<u8, f32>, // ! `f32` has no associative sum | instead of a float take `Sum`
    pub other: Other, // ! `Other` has no associative sum | can `#[derive(Semigroup)]`
}

pub struct Other;

#[derive(Semigroup, Monoid)]
pub struct Slowest(
    pub Max<u64>, // ! `Max<u64>` has no zero | take `Option<T>`
);

#[derive(Semigroup, Monoid, Group)]
pub struct Stock {
    pub pieces: i64,
    pub by_place: BTreeMap<u8, i64>, // ! cannot be taken back out of a sum | take `SparseMap`
}

#[derive(Semigroup, Commutative)]
pub struct Log {
    pub text: String, // ! the sum of `String` depends on its order | instead take a set
}

#[derive(Semigroup, Idempotent)]
pub struct Count<T> {
    pub count: u64, // ! `u64` counts twice what comes twice | sets are idempotent
    pub of: T,
}

#[derive(Codec)]
pub struct Kept {
    pub since: std::time::Instant, // ! `Instant` has no bytes that last | can `#[derive(Codec)]`
}

#[derive(Monoid)]
pub struct Alone { // ! `Alone` has no associative sum | can `#[derive(Semigroup)]`
    pub count: u64,
}

#[derive(Semigroup)]
pub struct Pair<T>(T, T);

pub fn generic() {
    fn sums<T: Semigroup>(_: T) {}
    sums(Pair(1.0_f64, 2.0)); // ! `f64` has no associative sum | instead of a float take `Sum`
}
"#;

const FORMS: &str = r#"
use algebra::codec::Codec;
use algebra::{Commutative, Semigroup};

#[derive(Semigroup)]
pub enum Shape { // ! `Semigroup` cannot be derived for an enum | no meaning | `Option` field for each variant
    Circle(u64),
    Square(u64),
}

#[derive(Commutative)]
pub union Bits { // ! `Commutative` cannot be derived for a union | make it a struct
    whole: u64,
}

#[derive(Codec)]
pub enum State { // ! `Codec` cannot be derived for an enum | by hand
    On,
}

#[derive(Codec)]
#[codec(version = 300)] // ! a version is one byte
pub struct Late(u8);

#[derive(Codec)]
#[codec(verison = 3)] // ! unknown setting | there is `version = 1`
pub struct Misspelt(u8);

#[derive(Semigroup)]
#[algebra(path = "x")] // ! unknown setting | there is `crate = path::of::algebra`
pub struct Elsewhere(u8);
"#;

/// Where the crate has another name, as behind a facade that re-exports it.
const RENAMED: &str = r#"
#![deny(warnings, missing_docs)]
//! Compiles, and without warnings.
pub mod facade {
    //! What re-exports it.
    pub use renamed as algebra;
}
use facade::algebra::codec::Codec;
use facade::algebra::{Commutative, Group, Idempotent, Monoid, Semigroup};

/// All of them.
#[derive(Semigroup, Monoid, Group, Commutative, Codec)]
#[algebra(crate = crate::facade::algebra)]
#[codec(version = 3)]
pub struct Named<T> {
    /// One field.
    pub value: T,
    private: Private,
}

#[derive(Semigroup, Monoid, Group, Commutative, Idempotent, Codec)]
#[algebra(crate = facade::algebra)]
struct Private((), [(); 3]);
"#;

#[test]
fn a_field_without_the_trait_is_shown_where_it_stands() {
    check(FIELDS);
}

#[test]
fn what_cannot_be_derived_says_why_and_what_to_do() {
    check(FORMS);
}

#[test]
fn the_crate_may_have_another_name() {
    assert_eq!(errors("renamed", RENAMED), []);
    // And it is the setting that does it.
    let without = RENAMED.replace("#[algebra(crate = facade::algebra)]\n", "");
    assert_ne!(errors("renamed", &without), []);
}

fn check(source: &str) {
    let errors = errors("algebra", source);
    let mut expected_lines = Vec::new();
    for (number, line) in source.lines().enumerate() {
        let Some((_, phrases)) = line.split_once("// ! ") else {
            continue;
        };
        expected_lines.push(number + 1);
        let here: Vec<_> = errors.iter().filter(|error| error.line == number + 1).collect();
        let holds = |error: &&&Error| phrases.split(" | ").all(|phrase| error.text.contains(phrase));
        assert!(
            here.iter().any(|error| holds(&error)),
            "line {}: {line}\nerrors there: {here:#?}",
            number + 1
        );
    }
    let elsewhere: Vec<_> = errors
        .iter()
        .filter(|error| !expected_lines.contains(&error.line))
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
}

/// The line of its primary place, from 1; its message, labels and notes.
#[derive(Debug, PartialEq)]
struct Error {
    line: usize,
    text: String,
}

/// Compiles the source as a library that knows this crate as `name`.
fn errors(name: &str, source: &str) -> Vec<Error> {
    let directory = std::env::temp_dir().join(format!("algebra-derive-{}-{:p}", std::process::id(), source));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("fixture.rs");
    std::fs::write(&file, source).unwrap();
    let dependencies = PathBuf::from(std::env::current_exe().unwrap().parent().unwrap());
    let output = Command::new(compiler())
        .args([
            "--edition=2024",
            "--crate-type=lib",
            "--emit=metadata",
            "--error-format=json",
            "--cap-lints=forbid",
        ])
        .arg("--out-dir")
        .arg(&directory)
        .arg("-L")
        .arg(format!("dependency={}", dependencies.display()))
        .arg("--extern")
        .arg(format!("{name}={}", newest_library(&dependencies).display()))
        .arg(&file)
        .output()
        .unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let found: Vec<Error> = text.lines().filter_map(error).collect();
    assert_eq!(output.status.success(), found.is_empty(), "{text}");
    found
}

fn error(line: &str) -> Option<Error> {
    let message: Value = serde_json::from_str(line).ok()?;
    let spans = message["spans"].as_array()?;
    let primary = spans.iter().find(|span| span["is_primary"] == true)?;
    let labels = spans.iter().map(|span| &span["label"]);
    let notes = message["children"]
        .as_array()?
        .iter()
        .map(|child| &child["message"]);
    let texts = std::iter::once(&message["message"]).chain(labels).chain(notes);
    (message["level"] == "error").then(|| Error {
        line: primary["line_start"].as_u64().unwrap_or(0) as usize,
        text: texts.filter_map(Value::as_str).collect::<Vec<_>>().join("\n"),
    })
}

/// The one that cargo uses, beside it.
fn compiler() -> PathBuf {
    let beside = std::env::var_os("CARGO").map(|cargo| Path::new(&cargo).with_file_name("rustc"));
    let given = std::env::var_os("RUSTC").map(PathBuf::from);
    given
        .or(beside.filter(|path| path.exists()))
        .unwrap_or_else(|| "rustc".into())
}

/// This crate as it was built last: for the binary that runs this.
fn newest_library(dependencies: &Path) -> PathBuf {
    let built = |path: &PathBuf| {
        path.metadata()
            .and_then(|data| data.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    };
    std::fs::read_dir(dependencies)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            name.starts_with("libalgebra-") && name.ends_with(".rlib")
        })
        .max_by_key(built)
        .expect("the crate is built before its tests are")
}
