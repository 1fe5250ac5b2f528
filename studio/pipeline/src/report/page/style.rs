//! How the page looks: light and dark by the reader's setting, one column on a phone.

/// The style sheet. Figures bring their own; the background is theirs.
pub(super) const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#24292f;--soft:#57606a;--paper:#fff;--line:#d0d7de;--panel:#f6f8fa;--link:#0b5cad;\
--warn-ink:#7a2e00;--warn:#fff1e5;--warn-line:#d55e00;--good-ink:#044f3b;--good:#e3f6ef;--good-line:#00805f}\
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9da7b1;--paper:#0d1117;--line:#30363d;--panel:#161b22;\
--link:#79b8ff;--warn-ink:#ffc08a;--warn:#2d1a0c;--warn-line:#bd561d;--good-ink:#7fe0c2;--good:#0c2a22;--good-line:#2fbf95}}\
*{box-sizing:border-box}\
html{-webkit-text-size-adjust:100%}\
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,Segoe UI,Helvetica,Arial,\
sans-serif}\
main{max-width:64rem;margin:0 auto;padding:1rem 1rem 4rem}\
h1{font-size:1.7rem;line-height:1.2;margin:.5rem 0;overflow-wrap:anywhere}\
h2{font-size:1.3rem;margin:2.5rem 0 .5rem;padding-top:1rem;border-top:1px solid var(--line)}\
h3{font-size:1.05rem;margin:1.5rem 0 .5rem}\
p,li,dd,dt,summary,figcaption{overflow-wrap:anywhere}\
p{margin:.5rem 0;max-width:48rem}\
a{color:var(--link)}\
nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1rem;list-style:none;padding:0;margin:.75rem 0}\
.soft{color:var(--soft)}\
.badge{display:inline-block;font-size:.85rem;font-weight:600;padding:.1rem .6rem;margin:.15rem .3rem .15rem 0;\
border:1px solid var(--warn-line);border-radius:1rem;background:var(--warn);color:var(--warn-ink);overflow-wrap:anywhere}\
.badge.human{border-color:var(--good-line);background:var(--good);color:var(--good-ink)}\
.notes{border-left:4px solid var(--warn-line);background:var(--panel);padding:.5rem 1rem;margin:1rem 0}\
.notes ul{margin:.25rem 0;padding-left:1.2rem}\
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1rem;align-items:start}\
figure{margin:0;border:1px solid var(--line);border-radius:.5rem;padding:.5rem;min-width:0}\
figure>svg{display:block;width:100%;height:auto;max-width:34rem;margin:0 auto}\
figcaption{font-size:.85rem;color:var(--soft);padding:.25rem .25rem 0}\
details{margin:.5rem 0}\
summary{cursor:pointer;color:var(--link);padding:.35rem 0}\
.scroll{overflow-x:auto;max-width:100%}\
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums;margin:.25rem 0}\
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top;white-space:nowrap}\
th{font-weight:600;color:var(--soft)}\
td.wide{white-space:normal;min-width:14rem}\
.number{text-align:right}\
tbody tr:hover{background:var(--panel)}\
pre{overflow-x:auto;background:var(--panel);border:1px solid var(--line);border-radius:.5rem;padding:.75rem;margin:.5rem 0;\
font:.8rem/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}\
.prompt{border:1px solid var(--line);border-radius:.5rem;padding:.75rem;margin:.75rem 0}\
.prompt>p{margin:0 0 .5rem;font-weight:600}\
.clips{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,17rem),1fr));gap:.5rem 1rem}\
.clips div{min-width:0}\
.clips span{display:block;font-size:.85rem;overflow-wrap:anywhere}\
audio{width:100%;height:2.5rem}";

#[cfg(test)]
mod tests {
    #[test]
    fn the_sheet_may_stand_in_a_page_as_it_is() {
        assert!(!super::STYLE.contains(['<', '&']) && !super::STYLE.contains("url("));
    }
}
