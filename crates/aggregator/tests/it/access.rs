//! Tokens at both doors.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aggregator::access::{self, Access, Denied, DeniedCounts, Scope, Token};
use arrow_flight::FlightData;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use futures::StreamExt;
use jiff::Timestamp;
use tempfile::TempDir;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tower::ServiceExt;

use crate::door;

struct Tokens {
    _folder: TempDir,
    file: PathBuf,
    access: Access,
    /// In seconds.
    now: Arc<AtomicI64>,
}

fn entry(name: &str, token: &Token, scopes: &str, more: &str) -> String {
    let sha256 = token.sha256();
    format!("[[tokens]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\nscopes = [{scopes}]\n{more}\n")
}

fn tokens(text: &str) -> Tokens {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    std::fs::write(&file, text).unwrap();
    let now = Arc::new(AtomicI64::new(1_000));
    let clock = Arc::clone(&now);
    let clock = Arc::new(move || Timestamp::from_second(clock.load(Ordering::SeqCst)).unwrap());
    let access = Access::from_file_with(&file, clock).unwrap();
    Tokens {
        _folder: folder,
        file,
        access,
        now,
    }
}

fn clicks() -> Scope {
    Scope::Send("clicks".parse().unwrap())
}

#[test]
fn a_token_is_for_its_scopes_and_its_time() {
    let (ci, old) = (Token::generate().unwrap(), Token::generate().unwrap());
    let tokens = tokens(
        &(entry("ci", &ci, "\"send:clicks\"", "")
            + &entry("old", &old, "\"admin\"", "expires = \"1970-01-01T00:20:00Z\"")),
    );
    let check = |token: Option<&str>, scope: &Scope| tokens.access.check(token, scope);
    assert_eq!(&*check(Some(ci.text()), &clicks()).unwrap().name, "ci");
    assert_eq!(check(None, &clicks()), Err(Denied::Missing));
    assert_eq!(check(Some("sdl_x"), &clicks()), Err(Denied::Unknown));
    assert_eq!(check(Some(&ci.text()[..36]), &clicks()), Err(Denied::Unknown));
    let denied = check(Some(ci.text()), &Scope::Query).unwrap_err();
    assert_eq!(
        denied.to_string(),
        "token is not for this, it needs a scope token=ci scope=query"
    );
    assert!(check(Some(old.text()), &Scope::Admin).is_ok());
    tokens.now.store(1_200, Ordering::SeqCst);
    let name = "old".into();
    assert_eq!(
        check(Some(old.text()), &Scope::Admin),
        Err(Denied::Expired { name })
    );
    let counts = DeniedCounts {
        unknown: 4,
        beyond_scope: 1,
    };
    assert_eq!(tokens.access.denied(), counts);
    assert_eq!(
        &*Access::open().check(None, &Scope::Admin).unwrap().name,
        "anyone"
    );
}

#[test]
fn a_file_that_changes_is_read_again_and_a_broken_one_changes_nothing() {
    let (first, second) = (Token::generate().unwrap(), Token::generate().unwrap());
    let tokens = tokens(&entry("a", &first, "\"query\"", ""));
    let is_in = |token: &Token| tokens.access.check(Some(token.text()), &Scope::Query).is_ok();
    std::fs::write(&tokens.file, "[[tokens]]\nname = 7").unwrap();
    let error = tokens.access.reload().unwrap_err().to_string();
    assert!(
        error.contains("line=2") && error.contains("tokens.toml"),
        "{error}"
    );
    assert!(is_in(&first));
    std::fs::remove_file(&tokens.file).unwrap();
    assert!(tokens.access.reload().is_err() && is_in(&first));
    std::fs::write(&tokens.file, entry("b", &second, "\"query\"", "")).unwrap();
    tokens.access.reload().unwrap();
    assert!(is_in(&second) && !is_in(&first));
    assert!(Access::from_file(tokens.file.with_file_name("none")).is_err());
}

#[test]
fn no_secret_shows_itself() {
    let token = Token::generate().unwrap();
    let tokens = tokens(&entry("ci", &token, "\"query\"", "expires = 1970-01-02"));
    let who = tokens.access.check(Some(token.text()), &Scope::Query).unwrap();
    let mut said = format!("{:?} {token:?} {who:?}", tokens.access);
    let unknown = Token::generate().unwrap();
    tokens.now.store(1_000_000, Ordering::SeqCst);
    for (token, scope) in [
        (&unknown, Scope::Query),
        (&token, Scope::Query),
        (&token, Scope::Admin),
    ] {
        let denied = tokens.access.check(Some(token.text()), &scope).unwrap_err();
        said += &format!(" {denied} {denied:?} {:?}", Status::from(denied.clone()));
    }
    for secret in [token.text(), unknown.text(), &token.sha256()] {
        assert!(!said.contains(secret), "{said}");
        assert!(!said.contains(&secret[8..20]), "{said}");
    }
}

#[tokio::test]
async fn the_http_door_asks_before_it_reads() {
    let token = Token::generate().unwrap();
    let tokens = tokens(&entry("ci", &token, "\"send:cl*\"", ""));
    let router = Router::new()
        .route("/health", get(|| async { "ok" }))
        .route("/v1/query", post(|| async { "rows" }))
        .route("/v1/datasets/{dataset}/events", post(|| async { "acked" }));
    let router = access::require(router, tokens.access.clone(), access::scope_of);
    let ask = async |method: &str, path: &str, authorization: Option<String>| {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        // A body that never comes: whoever is not let in is told so at once.
        let body = Body::from_stream(futures::stream::pending::<Result<String, std::io::Error>>());
        let response = router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        (
            response.status(),
            response.headers().contains_key("www-authenticate"),
        )
    };
    let bearer = || Some(format!("Bearer {}", token.text()));
    // Segment's libraries: the write key as the user, no password.
    let basic = {
        use base64::Engine;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{}:", token.text()));
        Some(format!("Basic {pair}"))
    };
    let events = "/v1/datasets/clicks/events";
    assert_eq!(ask("GET", "/health", None).await, (StatusCode::OK, false));
    assert_eq!(ask("POST", events, None).await, (StatusCode::UNAUTHORIZED, true));
    assert_eq!(ask("POST", events, bearer()).await, (StatusCode::OK, false));
    assert_eq!(ask("POST", events, basic).await, (StatusCode::OK, false));
    let other = "/v1/datasets/orders/events";
    assert_eq!(ask("POST", other, bearer()).await, (StatusCode::FORBIDDEN, false));
    assert_eq!(
        ask("POST", "/v1/query", bearer()).await,
        (StatusCode::FORBIDDEN, false)
    );
    assert_eq!(
        ask("GET", "/nothing", None).await,
        (StatusCode::UNAUTHORIZED, true)
    );
}

#[tokio::test]
async fn a_put_is_for_the_dataset_of_its_first_message() {
    let token = Token::generate().unwrap();
    let tokens = tokens(&entry("ci", &token, "\"send:clicks\"", ""));
    let mut metadata = MetadataMap::new();
    let messages = || futures::stream::iter([Ok(door::line("clicks", 0)), Ok(door::line("orders", 1))]);
    let denied = tokens.access.put(&metadata, messages()).err().unwrap();
    assert_eq!(denied.code(), Code::Unauthenticated);
    metadata.insert(
        "authorization",
        format!("Bearer {}", token.text()).parse().unwrap(),
    );
    let all: Vec<_> = tokens.access.put(&metadata, messages()).unwrap().collect().await;
    assert!(all.len() == 2 && all.iter().all(Result::is_ok));
    let other = futures::stream::iter([Ok(door::line("orders", 0)), Ok(door::line("orders", 1))]);
    let all: Vec<_> = tokens.access.put(&metadata, other).unwrap().collect().await;
    assert_eq!(all.len(), 1);
    let denied = all[0].as_ref().unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert!(denied.message().ends_with("scope=send:orders"), "{denied:?}");
    // What has no dataset is for the door to refuse, and nothing after it passes.
    let none = futures::stream::iter([Ok(FlightData::new()), Ok(door::line("clicks", 0))]);
    let all: Vec<_> = tokens.access.put(&metadata, none).unwrap().collect().await;
    assert_eq!(all.len(), 1);
    let open = Access::open().put(&MetadataMap::new(), messages()).unwrap();
    assert_eq!(open.count().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_token_is_taken_away() {
    let token = Token::generate().unwrap();
    let tokens = tokens(&entry("ci", &token, "\"send:clicks\"", ""));
    let mut metadata = MetadataMap::new();
    let check = |metadata: &MetadataMap| tokens.access.check_metadata(metadata, &clicks());
    assert_eq!(check(&metadata).unwrap_err().code(), Code::Unauthenticated);
    metadata.insert(
        "authorization",
        format!("Bearer {}", token.text()).parse().unwrap(),
    );
    let who = check(&metadata).unwrap();
    let endless = futures::stream::iter([Ok(1), Ok(2)]).chain(futures::stream::pending());
    let guarded = tokens.access.while_allowed(who.clone(), clicks(), endless);
    let mut guarded = std::pin::pin!(guarded);
    assert_eq!(guarded.next().await.unwrap().unwrap(), 1);
    assert_eq!(guarded.next().await.unwrap().unwrap(), 2);
    std::fs::write(&tokens.file, entry("ci", &token, "\"query\"", "")).unwrap();
    tokens.access.reload().unwrap();
    let ended = guarded.next().await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::PermissionDenied);
    assert!(guarded.next().await.is_none());
    // One that ends itself ends as it did.
    let short = tokens
        .access
        .while_allowed(who, clicks(), futures::stream::iter([Ok(1)]));
    assert_eq!(short.collect::<Vec<_>>().await.len(), 1);
}
