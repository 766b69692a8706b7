//! TLS: which certificates are trusted. The machine's own authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` are
//! obeyed), and for a registry those in `certs.d/HOST[:PORT]/*.crt`, the directories that Docker, Podman and containerd
//! read, and those that `hosts.toml` names; there may also be a client certificate, `NAME.cert` with `NAME.key`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::RegistryError;
use crate::settings::directories_of;

/// A client certificate with its key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Certificate files that settings name for a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct TlsFiles {
    /// Authorities to trust beside the machine's own.
    pub(crate) authorities: Vec<PathBuf>,
    /// Client certificates, each with its key; the first is shown.
    pub(crate) identities: Vec<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    /// What a directory holds: authorities in `*.crt`, and in `NAME.cert` with `NAME.key` a certificate of one's own.
    pub(crate) fn in_directory(directory: &Path) -> Result<Self, RegistryError> {
        let identities = files(directory, "cert")?.into_iter().map(|path| {
            let key = path.with_extension("key");
            (path, key)
        });
        Ok(Self { authorities: files(directory, "crt")?, identities: identities.collect() })
    }
}

/// The configuration for a host: `directories` are the `certs.d` directories, `named` are further files.
pub(crate) fn verifying(
    host: &str,
    directories: &[PathBuf],
    named: &TlsFiles,
) -> Result<ClientConfig, RegistryError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let mut identity = named.identities.first().map(|(chain, key)| identity_of(chain, key)).transpose()?;
    let directories = directories_of(directories, host);
    let mut authorities = named.authorities.clone();
    for directory in &directories {
        authorities.extend(files(directory, "crt")?);
        if identity.is_none() {
            identity = client_identity(directory)?;
        }
    }
    for path in &authorities {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| bad_file(path, error))?;
        }
    }
    let setup = |source: rustls::Error| RegistryError::Setup { host: host.to_owned(), source: source.into() };
    if roots.is_empty() {
        return Err(setup(rustls::Error::General("this machine has no certificate authorities".to_owned())));
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(setup)?
        .with_root_certificates(roots);
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(setup),
    }
}

/// The configuration that takes any certificate, for registries that the person called insecure; and, as nothing is
/// read for it, for connections without TLS.
pub(crate) fn blind(host: &str) -> Result<ClientConfig, RegistryError> {
    let setup = |source: rustls::Error| RegistryError::Setup { host: host.to_owned(), source: source.into() };
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())))
        .with_no_client_auth())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The files with this extension, in order. No directory is no files.
fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>, RegistryError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(bad_file(directory, error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| bad_file(directory, error))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, RegistryError> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| bad_file(path, error))?.collect();
    let found = found.map_err(|error| bad_file(path, error))?;
    if found.is_empty() {
        return Err(bad_file(path, "it holds no certificate"));
    }
    Ok(found)
}

fn client_identity(directory: &Path) -> Result<Option<Identity>, RegistryError> {
    let Some(path) = files(directory, "cert")?.into_iter().next() else { return Ok(None) };
    identity_of(&path, &path.with_extension("key")).map(Some)
}

fn identity_of(chain: &Path, key: &Path) -> Result<Identity, RegistryError> {
    let chain = certificates(chain)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| bad_file(key, error))?;
    Ok((chain, key))
}

fn bad_file(path: &Path, source: impl Into<crate::error::Cause>) -> RegistryError {
    RegistryError::CertificateFile { path: path.to_owned(), source: source.into() }
}

/// Takes every certificate, but still insists that the server holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
