//! A sink that keeps nothing and checks everything: order of calls, sizes, digests.

use bytes::Bytes;
use cofferdam_registry::{Hasher, LayerEnd, LayerStart, Sink, SinkError, Want};

type Choice = Box<dyn FnMut(&LayerStart) -> Want>;

pub(crate) struct Checking {
    want: Choice,
    open: Option<(LayerStart, Hasher, Want)>,
    pub starts: Vec<LayerStart>,
    pub ends: Vec<LayerEnd>,
}

impl Default for Checking {
    fn default() -> Self {
        Self::wanting(|_| Want::Bytes)
    }
}

impl Checking {
    pub(crate) fn wanting(want: impl FnMut(&LayerStart) -> Want + 'static) -> Self {
        Self { want: Box::new(want), open: None, starts: Vec::new(), ends: Vec::new() }
    }
}

impl Sink for Checking {
    fn begin(&mut self, layer: &LayerStart) -> Result<Want, SinkError> {
        assert!(self.open.is_none(), "a layer within a layer");
        assert!(layer.head.len() as u64 <= layer.size && layer.head.len() <= 64 << 10);
        let want = (self.want)(layer);
        self.starts.push(layer.clone());
        if !matches!(want, Want::Nothing { .. }) {
            self.open = Some((layer.clone(), Hasher::new(), want));
        }
        Ok(want)
    }

    fn bytes(&mut self, piece: Bytes) -> Result<(), SinkError> {
        let (start, hasher, want) = self.open.as_mut().expect("bytes outside of a layer");
        assert_eq!(*want, Want::Bytes);
        assert!(!piece.is_empty());
        if hasher.bytes() < start.head.len() as u64 {
            let at = hasher.bytes() as usize;
            let count = piece.len().min(start.head.len() - at);
            assert_eq!(piece[..count], start.head[at..at + count], "the head is what comes first");
        }
        hasher.update(&piece);
        Ok(())
    }

    fn end(&mut self, layer: &LayerEnd) -> Result<(), SinkError> {
        let (start, hasher, want) = self.open.take().expect("the end of no layer");
        assert_eq!((&start.name, start.size, start.encoding), (&layer.name, layer.size, layer.encoding));
        if want == Want::Bytes {
            assert_eq!((hasher.bytes(), hasher.finish()), (layer.size, layer.blob));
        }
        self.ends.push(layer.clone());
        Ok(())
    }
}
