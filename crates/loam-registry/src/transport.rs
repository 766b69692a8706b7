//! Requests and redirects: which connection a URL gets, and what follows it when the registry points elsewhere.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Request, Response, StatusCode, Url};
use tokio::sync::OnceCell;
use tokio::time::error::Elapsed;

use crate::body::Pace;
use crate::error::{RegistryError, innermost, printable};
use crate::home::{Home, LOOPBACK, Scheme, host_of, is_link_local, is_loopback, same_origin};
use crate::outgoing::Outgoing;
use crate::settings::directories_of;
use crate::tls::TlsFiles;
use crate::{probe, tls};

/// How many redirects one request follows.
const MOST_REDIRECTS: usize = 10;
/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// What the request sends.
pub(crate) enum Send<'a> {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// DELETE.
    Delete,
    /// POST of nothing.
    Post,
    /// POST of a form.
    Form(&'a [(&'a str, &'a str)]),
    /// PUT of these bytes.
    Put(Bytes),
    /// PATCH with a body that can be sent once.
    Stream(Arc<Outgoing>),
}

impl Send<'_> {
    /// Whether a redirect is followed: only where nothing is sent along.
    fn may_move(&self) -> bool {
        matches!(self, Send::Get | Send::Head)
    }
}

/// The final answer to a request.
pub(crate) struct Reply {
    /// The answer.
    pub(crate) response: Response,
    /// Whether it comes from another origin than was asked, after a redirect.
    pub(crate) away: bool,
}

/// Which certificates a connection accepts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Trust {
    Plain,
    Blind,
    Verified,
}

/// One set of connections: all that go to hosts with the same rules. The host is empty when no rule names it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Pool {
    trust: Trust,
    host: String,
    direct: bool,
    files: TlsFiles,
}

/// The way to the network.
pub(crate) struct Transport {
    pace: Pace,
    certificate_directories: Vec<PathBuf>,
    pools: Mutex<HashMap<Pool, Client>>,
    schemes: Mutex<HashMap<Home, Arc<OnceCell<Scheme>>>>,
    answered: Mutex<HashSet<String>>,
}

impl Transport {
    /// Makes the transport; nothing is opened or read before the first request.
    pub(crate) fn new(pace: Pace, certificate_directories: Vec<PathBuf>) -> Self {
        Self {
            pace,
            certificate_directories,
            pools: Mutex::default(),
            schemes: Mutex::default(),
            answered: Mutex::default(),
        }
    }

    /// How slowly bodies may come.
    pub(crate) fn pace(&self) -> Pace {
        self.pace
    }

    /// The scheme that a registry speaks, found out once.
    pub(crate) async fn scheme(&self, home: &Home) -> Scheme {
        if let Some(scheme) = home.scheme() {
            return scheme;
        }
        if !home.allows_plain() {
            return Scheme::Https;
        }
        let cell = Arc::clone(lock(&self.schemes).entry(home.clone()).or_default());
        *cell.get_or_init(|| probe::scheme(home)).await
    }

    /// Sends a request for a registry, and follows redirects when it only asks. The `Authorization` header, and others
    /// that settings add, do not leave the origin they were given for.
    pub(crate) async fn request(
        &self,
        home: &Home,
        mut url: Url,
        mut headers: HeaderMap,
        send: &Send<'_>,
    ) -> Result<Reply, RegistryError> {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut away = false;
        for _ in 0..=MOST_REDIRECTS {
            let response = self.once(home, &url, &headers, send).await?;
            if !send.may_move() || !is_redirect(response.status()) {
                return Ok(Reply { response, away });
            }
            let target = target(home, &url, &response)?;
            if !same_origin(&url, &target) {
                headers = headers.into_iter().filter_map(public).collect();
                away = true;
            }
            url = target;
        }
        let reason = format!("more than {MOST_REDIRECTS} times");
        Err(RegistryError::Redirect { host: host_of(&url), reason })
    }

    async fn once(
        &self,
        home: &Home,
        url: &Url,
        headers: &HeaderMap,
        send: &Send<'_>,
    ) -> Result<Response, RegistryError> {
        let client = self.client(home, url)?;
        let request = match send {
            Send::Get => client.get(url.clone()),
            Send::Head => client.head(url.clone()),
            Send::Delete => client.delete(url.clone()),
            Send::Post => client.post(url.clone()).body(""),
            Send::Form(fields) => client.post(url.clone()).form(fields),
            Send::Put(bytes) => client.put(url.clone()).body(bytes.clone()),
            Send::Stream(outgoing) => client.patch(url.clone()).body(outgoing.take()),
        };
        let setup = |source: reqwest::Error| RegistryError::Setup {
            host: host_of(url),
            source: innermost(&source.without_url()),
        };
        let mut request: Request = request.build().map_err(setup)?;
        request.headers_mut().extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        let host = host_of(url);
        match self.in_time(client.execute(request), send).await {
            Err(_elapsed) => Err(RegistryError::Silent { host, idle: self.pace.idle }),
            Ok(Err(error)) => {
                let known = lock(&self.answered).contains(&host);
                Err(failed(host, known, &error))
            }
            Ok(Ok(response)) => {
                lock(&self.answered).insert(host);
                Ok(response)
            }
        }
    }

    /// Waits for an answer, or until nothing moves any more.
    async fn in_time<T>(&self, answer: impl Future<Output = T>, send: &Send<'_>) -> Result<T, Elapsed> {
        let mut answer = pin!(answer);
        loop {
            let before = if let Send::Stream(outgoing) = send { outgoing.sent() } else { 0 };
            let waited = tokio::time::timeout(self.pace.idle, &mut answer).await;
            match (waited, send) {
                (Ok(answer), _) => return Ok(answer),
                (Err(_), Send::Stream(outgoing)) if outgoing.sent() > before => {}
                (Err(elapsed), _) => return Err(elapsed),
            }
        }
    }

    /// The connections for a URL.
    fn client(&self, home: &Home, url: &Url) -> Result<Client, RegistryError> {
        let host = host_of(url);
        let trust = match url.scheme() {
            "http" => Trust::Plain,
            _ if home.trusts_blindly(url) => Trust::Blind,
            _ => Trust::Verified,
        };
        let files = if trust == Trust::Verified { home.files(url) } else { TlsFiles::default() };
        let directories = || directories_of(&self.certificate_directories, &host);
        let has_rules = trust == Trust::Verified && directories().iter().any(|path| path.is_dir());
        let pool = Pool {
            trust,
            host: if has_rules { host.clone() } else { String::new() },
            direct: url.host_str().is_some_and(is_loopback),
            files,
        };
        let mut pools = lock(&self.pools);
        if let Some(client) = pools.get(&pool) {
            return Ok(client.clone());
        }
        let client = self.open(&host, &pool)?;
        pools.insert(pool, client.clone());
        Ok(client)
    }

    fn open(&self, host: &str, pool: &Pool) -> Result<Client, RegistryError> {
        let mut config = match pool.trust {
            Trust::Verified => tls::verifying(host, &self.certificate_directories, &pool.files)?,
            Trust::Plain | Trust::Blind => tls::blind(host)?,
        };
        // One connection for each transfer: they do not wait for each other, as streams of one HTTP/2 connection do.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut builder = Client::builder()
            .user_agent(concat!("loam/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .http1_only()
            .connect_timeout(CONNECT_LIMIT.min(self.pace.idle))
            .tls_backend_preconfigured(config);
        if pool.direct {
            builder = builder.no_proxy().dns_resolver(Arc::new(ThisMachine));
        }
        builder.build().map_err(|error| RegistryError::Setup {
            host: host.to_owned(),
            source: innermost(&error.without_url()),
        })
    }
}

/// Names of this machine, whatever a resolver knows of them.
struct ThisMachine;

impl Resolve for ThisMachine {
    fn resolve(&self, _name: Name) -> Resolving {
        let addresses: Addrs = Box::new(LOOPBACK.into_iter().map(|address| SocketAddr::new(address, 0)));
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

/// Locks a map. A thread that panicked with the lock held left the map whole: all changes are single inserts.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A header, unless it is one that another origin must not see.
fn public(header: (Option<HeaderName>, HeaderValue)) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = header;
    name.filter(|_| !value.is_sensitive()).map(|name| (name, value))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads, if it may be followed.
fn target(home: &Home, from: &Url, response: &Response) -> Result<Url, RegistryError> {
    let refuse = |reason: String| RegistryError::Redirect { host: host_of(from), reason };
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| refuse("without saying where".to_owned()))?;
    let target = from.join(location).map_err(|_| refuse("to no valid address".to_owned()))?;
    let host = target.host_str().unwrap_or_default();
    let to = format!("to `{}://{}`", target.scheme(), printable(&host_of(&target), 80));
    match (from.scheme(), target.scheme()) {
        ("https", "https") | ("http", "http" | "https") => {}
        ("https", "http") => {
            return Err(refuse(format!("{to}, from an encrypted connection to a plain one")));
        }
        _ => return Err(refuse(format!("{to}, which is not HTTP"))),
    }
    if is_link_local(host) && !home.is_link_local() {
        return Err(refuse(format!("{to}, a link-local address")));
    }
    if is_loopback(host) && !home.is_loopback() {
        return Err(refuse(format!("{to}, which is this machine")));
    }
    Ok(target)
}

/// What it means that the client could not send a request or read an answer.
pub(crate) fn failed(host: String, known: bool, error: &reqwest::Error) -> RegistryError {
    match find_tls(error) {
        Some(rustls::Error::InvalidCertificate(problem)) => {
            return RegistryError::Certificate { host, source: problem.to_string().into() };
        }
        Some(problem) => {
            return RegistryError::Connect { host, known, source: problem.to_string().into() };
        }
        None => {}
    }
    if error.is_timeout() {
        return RegistryError::Connect { host, known, source: "the connection takes too long".into() };
    }
    let source = innermost(error);
    if error.is_connect() {
        return RegistryError::Connect { host, known, source };
    }
    RegistryError::Broken { host, source }
}

/// The TLS error among the causes; the input and output errors that carry it hide it from `source`.
fn find_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match carried {
            Some(carried) => Some(carried as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}
