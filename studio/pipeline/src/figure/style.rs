//! How figures look: one style sheet for light and dark screens, held inside the document's own class.

/// Colours are those of Okabe and Ito, which colour-blind readers can tell apart, lightened on dark ground. The background
/// is explicit, so that the figure is legible wherever it stands.
pub(super) const STYLE: &str = "\
.musicrl text{font:12px Helvetica,Arial,'Liberation Sans','DejaVu Sans',sans-serif;fill:#24292f}\
.musicrl .paper{fill:#fff}\
.musicrl .letter{font-weight:bold;font-size:14px}\
.musicrl .heading{font-weight:bold}\
.musicrl .small,.musicrl .tick{font-size:11px;fill:#57606a}\
.musicrl .middle{text-anchor:middle}\
.musicrl .end{text-anchor:end}\
.musicrl .value{font-size:11px;fill:currentColor}\
.musicrl .grid{stroke:#e4e8ec}\
.musicrl .axis{stroke:#6e7781;fill:none}\
.musicrl .rule{stroke:#6e7781;stroke-dasharray:3 3;fill:none}\
.musicrl .dots{stroke:currentColor;stroke-width:3.4;stroke-linecap:round;stroke-opacity:.35;fill:none}\
.musicrl .line{stroke:currentColor;stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round;fill:none}\
.musicrl .band{fill:currentColor;fill-opacity:.2}\
.musicrl .whisker{stroke:currentColor;stroke-width:1.8;fill:none}\
.musicrl .dot{fill:currentColor}\
.musicrl .chip{fill:#000;fill-opacity:.6}\
.musicrl text.on-chip{font-size:11px;fill:#fff}\
.musicrl .silent{fill:#8c959f;fill-opacity:.15}\
.musicrl .trace{stroke:currentColor;stroke-width:1.3;stroke-linejoin:round;fill:none}\
.musicrl .dash1 .trace{stroke-dasharray:7 3}\
.musicrl .dash2 .trace{stroke-dasharray:2 2.5}\
.musicrl .dash3 .trace{stroke-dasharray:9 3 2 3}\
.musicrl .halo{paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}\
.musicrl .ring{stroke:currentColor;stroke-width:1.8;fill:none}\
.musicrl .start{stroke:currentColor;stroke-width:1.5;fill:#fff}\
.musicrl .win{fill:#0072b2}\
.musicrl .tie{fill:#d0d7de}\
.musicrl .loss{fill:#d55e00}\
.musicrl text.on-bar{font-size:11px;fill:#fff}\
.musicrl text.on-tie{font-size:11px;fill:#24292f}\
.musicrl .blue{color:#0072b2}\
.musicrl .orange{color:#d55e00}\
.musicrl .green{color:#00805f}\
.musicrl .purple{color:#a8457f}\
.musicrl .gold{color:#8a6d00}\
.musicrl .ink{color:#24292f}\
.musicrl .grey{color:#57606a}\
@media (prefers-color-scheme:dark){\
.musicrl text{fill:#e6edf3}\
.musicrl .paper{fill:#0d1117}\
.musicrl .small,.musicrl .tick{fill:#9da7b1}\
.musicrl .value{fill:currentColor}\
.musicrl .grid{stroke:#21262d}\
.musicrl .dots{stroke-opacity:.5}\
.musicrl .axis,.musicrl .rule{stroke:#7d8590}\
.musicrl text.on-chip,.musicrl text.on-bar{fill:#fff}\
.musicrl .start{fill:#0d1117}\
.musicrl .halo{stroke:#0d1117}\
.musicrl .win{fill:#1f6fa8}\
.musicrl .tie{fill:#424a53}\
.musicrl .loss{fill:#bd561d}\
.musicrl text.on-tie{fill:#e6edf3}\
.musicrl .purple{color:#d88abf}\
.musicrl .gold{color:#e3b341}\
.musicrl .ink{color:#e6edf3}\
.musicrl .blue{color:#56b4e9}\
.musicrl .orange{color:#f0893e}\
.musicrl .green{color:#2fbf95}\
.musicrl .grey{color:#9da7b1}}";
