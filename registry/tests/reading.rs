//! The layers that a sink receives, and those that it can skip, for good archives in every form and from every kind of
//! source.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::io::{Cursor, Read, Seek, Write};
use std::path::Path;

use cofferdam_registry::archive::ArchiveFault;
use cofferdam_registry::{
    Archive, ArchiveError, ArchiveLimits, ArchiveSource, Digest, LayerEnd, LayerStart, Rules, Sink, SinkError, Want,
    read_archive,
};
use support::archive::{Description, Form};
use support::sink::Checking;
use support::tar::Compress;

fn described(form: Form, layer_compress: Compress, compress: Compress) -> Description {
    Description { form, layer_compress, compress, ..Description::default() }
}

fn stream(bytes: &[u8]) -> ArchiveSource {
    ArchiveSource::Stream(Box::new(Cursor::new(bytes.to_vec())))
}

fn file(bytes: &[u8]) -> ArchiveSource {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    ArchiveSource::File(file)
}

fn read(source: ArchiveSource, sink: &mut dyn Sink) -> Result<Archive, ArchiveError> {
    read_archive(source, &ArchiveLimits::default(), &Rules::default(), sink)
}

#[test]
fn every_form_from_every_source_is_the_same_image() {
    for form in [Form::Docker, Form::DockerOld, Form::Oci] {
        for layer_compress in [Compress::None, Compress::Gzip, Compress::Zstd] {
            for compress in [Compress::None, Compress::Gzip, Compress::Zstd] {
                let built = described(form, layer_compress, compress).build().unwrap();
                for (kind, source) in [("stream", stream(&built.bytes)), ("file", file(&built.bytes))] {
                    let mut sink = Checking::default();
                    let archive = read(source, &mut sink).unwrap();
                    let image = &archive.images[0];
                    assert_eq!(image.layers[0].diff_id, built.layers[0], "{kind} {form:?}");
                    assert_eq!(image.layers[0].blob, sink.ends[0].blob);
                    assert_eq!(image.entry_point.entrypoint, ["/bin/hello"]);
                    assert_eq!((sink.ends.len(), archive.unreferenced.len()), (1, 0));
                    assert_eq!(image.manifest.is_some(), form == Form::Oci);
                    let seekable = kind == "file" && compress == Compress::None;
                    assert_eq!(sink.starts[0].place.is_some(), seekable);
                    if seekable {
                        assert_eq!(sink.starts[0].diff_id, Some(built.layers[0]));
                    }
                }
            }
        }
    }
}

#[test]
fn a_layer_that_is_vouched_for_is_not_read_where_that_is_possible() {
    let mut large = described(Form::Oci, Compress::None, Compress::None);
    large.layers[0][0].zeros = Some(3_000_000);
    let built = large.build().unwrap();
    let vouch = |layer: &LayerStart| Want::Nothing { diff_id: layer.diff_id.unwrap() };
    let mut sink = Checking::wanting(vouch);
    let archive = read(file(&built.bytes), &mut sink).unwrap();
    assert!(archive.bytes_read < 5_000, "{}", archive.bytes_read);
    assert_eq!((archive.images[0].layers[0].diff_id, sink.ends.len()), (built.layers[0], 0));
    let archive = read(stream(&built.bytes), &mut Checking::wanting(vouch)).unwrap();
    assert_eq!(archive.images[0].layers[0].diff_id, built.layers[0]);
    // Vouching for a layer that the image does not have gives no image.
    let other = Digest::of(b"another");
    let error = read(file(&built.bytes), &mut Checking::wanting(move |_| Want::Nothing { diff_id: other }));
    assert!(matches!(error, Err(ArchiveError::Digest { found, .. }) if found == other));
    // Only hashed: nothing is delivered, everything is checked.
    let mut sink = Checking::wanting(|_| Want::HashOnly);
    read(stream(&built.bytes), &mut sink).unwrap();
    assert_eq!(sink.ends[0].diff_id, built.layers[0]);
}

#[test]
fn hints_come_with_the_names_that_have_them() {
    for (form, diff, blob) in [(Form::Docker, true, true), (Form::DockerOld, false, false), (Form::Oci, true, true)] {
        let built = described(form, Compress::None, Compress::Gzip).build().unwrap();
        let mut sink = Checking::default();
        read(stream(&built.bytes), &mut sink).unwrap();
        let start = &sink.starts[0];
        assert_eq!((start.diff_id.is_some(), start.blob.is_some()), (diff, blob), "{form:?}");
        assert_eq!(start.head.len(), 2048);
    }
}

/// Unpacks the entries of an archive into a layout folder.
fn unpack(bytes: &[u8], folder: &Path) {
    let mut at = 0;
    while bytes[at] != 0 {
        let name = std::str::from_utf8(&bytes[at..at + 100]).unwrap().trim_end_matches('\0');
        let size = std::str::from_utf8(&bytes[at + 124..at + 135]).unwrap();
        let size = usize::from_str_radix(size, 8).unwrap();
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &bytes[at + 512..at + 512 + size]).unwrap();
        at += 512 + size.next_multiple_of(512);
    }
}

#[test]
fn a_folder_is_read_too() {
    let built = described(Form::Oci, Compress::Gzip, Compress::None).build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    unpack(&built.bytes, folder.path());
    let layout = || ArchiveSource::Directory(folder.path().to_owned());
    let archive = read(layout(), &mut Checking::default()).unwrap();
    assert_eq!(archive.images[0].layers[0].diff_id, built.layers[0]);
    // A named pipe in place of a blob does not block.
    let blob = folder.path().join("blobs/sha256").join(archive.images[0].layers[0].blob.hex());
    std::fs::remove_file(&blob).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&blob).status().unwrap().success());
    let error = read(layout(), &mut Checking::default()).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    std::fs::remove_file(folder.path().join("index.json")).unwrap();
    let error = read(layout(), &mut Checking::default()).unwrap_err();
    assert!(error.to_string().contains("without `index.json`"), "{error}");
}

#[test]
fn an_image_is_found_by_each_of_its_digests() {
    let platforms = vec!["amd64".to_owned()];
    let built = Description { platforms, layer_compress: Compress::Gzip, ..Description::default() }.build().unwrap();
    let named = |name: String| {
        let rules = Rules { name: Some(name), ..Rules::default() };
        let limits = ArchiveLimits::default();
        let streamed = read_archive(stream(&built.bytes), &limits, &rules, &mut Checking::default());
        let found = read_archive(file(&built.bytes), &limits, &rules, &mut Checking::default());
        assert_eq!(streamed.is_ok(), found.is_ok());
        found
    };
    let archive = read(file(&built.bytes), &mut Checking::default()).unwrap();
    let image = &archive.images[0];
    let (index, manifest) = (archive.index.as_ref().unwrap().index.digest, image.manifest.as_ref().unwrap().digest);
    for digest in [index, manifest, image.config_digest] {
        assert_eq!(named(digest.to_string()).unwrap().images.len(), 1);
        assert_eq!(named(format!("app:1@{digest}")).unwrap().images.len(), 1);
    }
    assert!(named(Digest::of(b"other").to_string()).is_err());
}

/// After the first secret the sink hears of nothing more: its layer is never complete, and no other one begins.
#[test]
fn nothing_is_delivered_after_a_secret() {
    let mut described = described(Form::Docker, Compress::None, Compress::None);
    let layer = described.layers[0].clone();
    let mut secret = layer[0].clone();
    secret.path = support::generate::Bytes::Text("app/.env".to_owned());
    let mut large = layer[0].clone();
    large.zeros = Some(3 << 20);
    described.layers = vec![layer.clone(), vec![secret.clone(), large], vec![secret]];
    for layer_compress in [Compress::None, Compress::Gzip] {
        let built = Description { layer_compress, ..described.clone() }.build().unwrap();
        for source in [stream(&built.bytes), file(&built.bytes)] {
            let mut sink = Checking::default();
            let error = read(source, &mut sink).unwrap_err();
            let ArchiveError::Secret(secrets) = error else { panic!("{error}") };
            assert_eq!((secrets.found.len(), secrets.all), (2, true));
            assert_eq!(secrets.patterns(), ["app/.env"]);
            assert_eq!((sink.starts.len(), sink.ends.len()), (2, 1));
        }
    }
}

/// A sink whose registry is gone after the first bytes.
struct Failing;

impl Sink for Failing {
    fn begin(&mut self, _: &LayerStart) -> Result<Want, SinkError> {
        Ok(Want::Bytes)
    }

    fn bytes(&mut self, _: bytes::Bytes) -> Result<(), SinkError> {
        Err(SinkError::new("the registry is gone"))
    }

    fn end(&mut self, _: &LayerEnd) -> Result<(), SinkError> {
        unreachable!("there was an error before")
    }
}

#[test]
fn a_sink_that_fails_ends_it_though_the_stream_goes_on_for_ever() {
    let built = described(Form::Docker, Compress::None, Compress::None).build().unwrap();
    // First the layer, then endless names.
    let endless = Cursor::new(built.bytes[..2560].to_vec()).chain(std::io::repeat(b'x'));
    let error = read(ArchiveSource::Stream(Box::new(endless)), &mut Failing).unwrap_err();
    assert_eq!((error.fault(), error.to_string().as_str()), (ArchiveFault::Sink, "the registry is gone"));
}

#[test]
fn a_stream_that_breaks_off_is_the_connections_fault() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
    }
    for compress in [Compress::None, Compress::Gzip, Compress::Zstd] {
        let built = described(Form::Docker, Compress::None, compress).build().unwrap();
        let half = Cursor::new(built.bytes[..built.bytes.len() / 2].to_vec()).chain(Broken);
        let error = read(ArchiveSource::Stream(Box::new(half)), &mut Checking::default()).unwrap_err();
        assert_eq!(error.fault(), ArchiveFault::Transfer, "{error}");
    }
}

#[test]
fn endless_streams_end() {
    // Zeros after the end marker, and a tar with endless entries.
    let error = read(ArchiveSource::Stream(Box::new(std::io::repeat(0))), &mut Checking::default()).unwrap_err();
    assert!(error.to_string().contains("after its end"), "{error}");
    let built = described(Form::Docker, Compress::None, Compress::None).build().unwrap();
    let header = built.bytes[..512].to_vec();
    struct Cycle(Vec<u8>, usize);
    impl Read for Cycle {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            for byte in buffer.iter_mut() {
                *byte = self.0[self.1];
                self.1 = (self.1 + 1) % self.0.len();
            }
            Ok(buffer.len())
        }
    }
    let error = read(ArchiveSource::Stream(Box::new(Cycle(header, 0))), &mut Checking::default()).unwrap_err();
    assert_eq!(error.fault(), ArchiveFault::Archive, "{error}");
}
