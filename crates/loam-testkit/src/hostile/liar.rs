//! A registry with an image and one lie about it.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Answer, Image, Request, Server};

/// What a [`Liar`] does wrong. Lies about layers concern every layer, but not the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Layers have other bytes than their digest says, as many.
    WrongBytes,
    /// Layers are said to be shorter than the manifest says.
    Short,
    /// Layers break off half-way, each time anew.
    Truncated,
    /// Layers never end.
    Endless,
    /// Layers stop half-way, and the connection stays.
    Stalled,
    /// The manifest has another digest than was asked for.
    WrongManifest,
    /// The manifest never ends.
    EndlessManifest,
    /// The manifest is served as an index.
    WrongType,
    /// Nothing is known.
    Unknown,
    /// Everything wants a login that nobody has.
    Unauthorized,
    /// So many requests are answered with 429 first.
    TooMany {
        /// How many.
        times: usize,
        /// `Retry-After`.
        retry_after: String,
    },
    /// So many requests are answered with an error of the server first.
    Failing {
        /// How many.
        times: usize,
        /// The status.
        status: u16,
    },
}

/// A registry that serves an image under every name, and lies.
#[derive(Debug)]
pub struct Liar {
    server: Server,
    lie: Arc<Mutex<Option<Lie>>>,
}

impl Liar {
    /// Starts a registry with this image and this lie.
    pub fn start(image: Image, lie: Lie) -> Self {
        let lie = Arc::new(Mutex::new(Some(lie)));
        let told = Arc::clone(&lie);
        let server = Server::start(move |request| {
            let lie = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let honest = image.answer(request);
            lie.and_then(|lie| lie.answer(&image, request)).unwrap_or(honest)
        });
        Self { server, lie }
    }

    /// Lies no more.
    pub fn be_honest(&self) {
        *self.lie.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// `127.0.0.1:PORT`, as it stands in a reference.
    pub fn host(&self) -> String {
        self.server.host()
    }
}

impl Lie {
    fn answer(&self, image: &Image, request: &Request) -> Option<Answer> {
        let manifest = request.path.contains("/manifests/");
        let layer = image.layers.iter().find(|digest| request.path.ends_with(&format!("/blobs/{digest}")));
        let layer = layer.and_then(|digest| image.blobs.get(digest));
        match self {
            Lie::WrongBytes => layer.map(|layer| {
                let mut bytes = layer.clone();
                bytes.iter_mut().take(1).for_each(|byte| *byte ^= 1);
                Answer::new(200).body(bytes)
            }),
            Lie::Short => layer.map(|layer| Answer::new(200).body(&layer[..layer.len() / 2])),
            Lie::Truncated => layer.map(|layer| half(layer).hang_up()),
            Lie::Stalled => layer.map(|layer| half(layer).silence()),
            Lie::Endless => {
                layer.map(|layer| Answer::new(200).chunked().body(layer.clone()).forever([0; 65536]))
            }
            Lie::WrongManifest if manifest => {
                let bytes = [image.manifest.as_slice(), b"\n"].concat();
                Some(Answer::new(200).header("Content-Type", &*image.media_type).body(bytes))
            }
            Lie::EndlessManifest if manifest => {
                let answer = Answer::new(200).header("Content-Type", &*image.media_type);
                Some(answer.chunked().body("{").forever([b' '; 65536]))
            }
            Lie::WrongType if manifest => {
                let media_type = "application/vnd.oci.image.index.v1+json";
                Some(Answer::new(200).header("Content-Type", media_type).body(image.manifest.clone()))
            }
            Lie::Unknown => Some(Answer::refusal(404, "MANIFEST_UNKNOWN", "manifest unknown")),
            Lie::Unauthorized => Some(
                Answer::refusal(401, "UNAUTHORIZED", "authentication required")
                    .header("WWW-Authenticate", "Basic realm=\"hostile\""),
            ),
            Lie::TooMany { times, retry_after } if request.number < *times => Some(
                Answer::refusal(429, "TOOMANYREQUESTS", "slow down")
                    .header("Retry-After", retry_after.as_str()),
            ),
            Lie::Failing { times, status } if request.number < *times => Some(Answer::new(*status)),
            _ => None,
        }
    }
}

/// The first half of a layer under the length of the whole.
fn half(layer: &[u8]) -> Answer {
    Answer::new(200).says_length(layer.len() as u64).body(&layer[..layer.len() / 2])
}
