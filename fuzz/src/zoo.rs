//! What the zoo demands of a checkpoint's settings and of the header of its weights.

use std::fs;

use burn::tensor::Device;
use musicrl_zoo::{Architecture, NamedTensors, open};
use serde_json::Value;

/// Bytes of tensors that are written, at most; a header that claims more is refused for it.
const DATA_BYTES_MAX: u64 = 1 << 20;

/// Every byte of the tensors: a small positive number in each format of floats.
const DATA_BYTE: u8 = 0x3c;

/// Settings, a zero byte and a header become a checkpoint whose tensors are as long as the header says. It is refused, or
/// loads and runs.
pub fn zoo(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let (Some(config), Some(header)) = (parts.next(), parts.next()) else { return };
    let Ok(folder) = tempfile::tempdir() else { return };
    fs::write(folder.path().join("config.json"), config).expect("a new file");
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header);
    file.resize(file.len() + data_bytes(header), DATA_BYTE);
    fs::write(folder.path().join("model.safetensors"), file).expect("a new file");
    match open(folder.path(), &Device::flex()) {
        Err(error) => assert!(!error.to_string().is_empty()),
        // It generates, which takes as long as its settings say.
        Ok(model) if model.architecture() == Architecture::MusicGen => {}
        Ok(model) => {
            let mut inputs = NamedTensors::new();
            inputs.put_floats("in.waveform", &[1, 1, 7], vec![0.1; 7]);
            inputs.put_integers("in.input_ids", &[1, 3], vec![0, 1, 2]);
            inputs.put_integers("in.attention_mask", &[1, 3], vec![1, 1, 0]);
            // A model of other channels refuses this sound, one of fewer words these ids.
            if let Err(error) = model.run(&inputs) {
                assert!(!error.to_string().is_empty());
            }
        }
    }
}

/// Where the last tensor of a header ends.
fn data_bytes(header: &[u8]) -> usize {
    let Ok(Value::Object(tensors)) = serde_json::from_slice(header) else { return 0 };
    let ends = tensors.values().filter_map(|tensor| tensor.get("data_offsets")?.get(1)?.as_u64());
    ends.max().unwrap_or(0).min(DATA_BYTES_MAX) as usize
}
