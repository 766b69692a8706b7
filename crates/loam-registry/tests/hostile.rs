//! The client against registries that lie, stall, break off, redirect and ask for logins, on the loopback interface.

#[path = "hostile/login.rs"]
mod login;
#[path = "hostile/mirrors.rs"]
mod mirrors;
#[path = "hostile/redirects.rs"]
mod redirects;
#[path = "hostile/tags.rs"]
mod tags;
#[path = "hostile/transfers.rs"]
mod transfers;
#[path = "hostile/uploads.rs"]
mod uploads;

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loam_model::Digest;
use loam_registry::{Client, ClientOptions, Reference, RegistryError, SettingsFiles};
use loam_testkit::hostile::Image;

/// Options with which nothing takes long.
fn quick() -> ClientOptions {
    ClientOptions {
        backoff: Duration::from_millis(1),
        idle_timeout: Duration::from_millis(500),
        // Nothing is as fast, so that large blobs come in parts.
        brisk_rate: u64::MAX,
        // A file that holds nothing, so that no login of the machine is used.
        credentials_file: Some("/dev/null".into()),
        settings: SettingsFiles::default(),
        ..ClientOptions::default()
    }
}

/// What the client notes.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn sentences(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").clone()
    }
}

fn client(options: ClientOptions) -> (Client, Heard) {
    let heard = Heard::default();
    let kept = heard.clone();
    let notes =
        Arc::new(move |sentence: &str| kept.0.lock().expect("not poisoned").push(sentence.to_owned()));
    (Client::new(options, notes).expect("a client"), heard)
}

/// Runs to the end, which must come within a minute.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), future).await.expect("it ends within a minute")
    })
}

fn reference(host: &str, rest: &str) -> Reference {
    format!("{host}/{rest}").parse().expect("a valid reference")
}

/// A small image with one layer of this many bytes, in which no two parts are the same.
fn image(size: usize) -> Image {
    let contents: Vec<u8> = (0..size).map(|at| u8::try_from(at * 31 % 251).expect("below 256")).collect();
    Image::of_layers(&[Image::tar(&[("file", &contents)])])
}

fn layer(image: &Image) -> (Digest, u64, Vec<u8>) {
    let bytes = image.blobs[&image.layers[0]].clone();
    (image.layers[0].parse().expect("a digest"), bytes.len() as u64, bytes)
}

/// Reads a whole blob.
async fn read(
    client: &Client,
    from: &Reference,
    digest: &Digest,
    size: u64,
) -> Result<Vec<u8>, RegistryError> {
    let mut stream = client.blob(from, digest, size).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    assert!(stream.next().await.is_none(), "an ended stream stays ended");
    Ok(bytes)
}

fn chain<T>(result: Result<T, RegistryError>) -> String {
    match result {
        Ok(_) => "success".to_owned(),
        Err(error) => error.into_failure().chain(),
    }
}
