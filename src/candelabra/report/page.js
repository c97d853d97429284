(function () {
  "use strict";
  const PALETTES = {
    light: {
      paper: "#ffffff", ink: "#1a1f26", muted: "#5b6570", line: "#e2e6eb", grey: "#8b95a1", candle: "#59636e",
      ours: "#0a5bc4", oursSoft: "#6d9fe0", ours50: "rgba(10,91,196,.34)", ours80: "rgba(10,91,196,.20)", ours90: "rgba(10,91,196,.12)",
      oracle: "#b07f00", band: "rgba(91,101,112,.18)", heat0: "#f1f3f6", heat1: "#f7cdb3", heat2: "#d9702f", heat3: "#7a2c05",
      regime0: "#009e73", regime1: "#c6569a", regime2: "#c3cad2", regime3: "#e69f00", regime4: "#56b4e9", regime5: "#7a5fc0",
      regime6: "#d55e00", regime7: "#f0e442", regime8: "#2f4b7c", regime9: "#8c564b",
    },
    dark: {
      paper: "#14171b", ink: "#e6e9ed", muted: "#9aa5b1", line: "#2c323a", grey: "#7f8a96", candle: "#aab3bd",
      ours: "#6fb1ff", oursSoft: "#4a7fbd", ours50: "rgba(111,177,255,.38)", ours80: "rgba(111,177,255,.22)", ours90: "rgba(111,177,255,.13)",
      oracle: "#e6bd4a", band: "rgba(154,165,177,.20)", heat0: "#23282f", heat1: "#5e3019", heat2: "#c9652b", heat3: "#ffb48a",
      regime0: "#12b98a", regime1: "#c6569a", regime2: "#b4bcc6", regime3: "#e69f00", regime4: "#56b4e9", regime5: "#9a82dd",
      regime6: "#e8772e", regime7: "#f0e442", regime8: "#6f8fc9", regime9: "#b98a80",
    },
  };
  const CONFIG = { responsive: true, displaylogo: false, displayModeBar: window.matchMedia("(hover: hover)").matches ? "hover" : false,
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]] };
  const scheme = window.matchMedia("(prefers-color-scheme: dark)");
  let printing = false;
  const specs = new Map();
  document.querySelectorAll("script[data-for]").forEach((s) => specs.set(s.dataset.for, JSON.parse(s.textContent)));

  function paint(value, palette, key) {
    if (Array.isArray(value)) return key === "colorscale" || !/color/i.test(key) || value.some((v) => typeof v === "string")
      ? value.map((v) => paint(v, palette, key)) : value;
    if (value && typeof value === "object") {
      const out = {};
      for (const k of Object.keys(value)) out[k] = paint(value[k], palette, k);
      return out;
    }
    return typeof value === "string" && value[0] === "@" && /color/i.test(key) ? palette[value.slice(1)] || value : value;
  }

  function template(p) {
    const axis = { gridcolor: p.line, linecolor: p.line, zerolinecolor: p.muted, zerolinewidth: 1, zeroline: false, tickcolor: p.line, automargin: true,
      tickfont: { color: p.muted }, title: { font: { size: 12, color: p.muted }, standoff: 8 } };
    return { layout: {
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: p.ink }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 56, r: 16, t: 34, b: 44 }, xaxis: axis, yaxis: axis, hoverlabel: { bgcolor: p.paper, bordercolor: p.line, font: { color: p.ink } },
      legend: { orientation: "h", x: 0, y: 1.01, xanchor: "left", yanchor: "bottom", font: { color: p.muted }, bgcolor: "rgba(0,0,0,0)" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: p.line, activecolor: p.ours },
      sliderdefaults: { bgcolor: p.line, activebgcolor: p.ours, bordercolor: p.line, tickcolor: p.line, font: { size: 11, color: p.muted },
        currentvalue: { font: { size: 13, color: p.ink } } },
      annotationdefaults: { font: { color: p.ink } },
    } };
  }

  function draw(node) {
    const palette = PALETTES[scheme.matches && !printing ? "dark" : "light"];
    const spec = paint(specs.get(node.id), palette, "");
    spec.layout.template = template(palette);
    spec.layout.autosize = true;
    node.style.height = spec.layout.height + "px";
    return Plotly.react(node, spec.data, spec.layout, CONFIG);
  }
  const visible = (node) => node.offsetParent !== null;
  const drawAll = () => document.querySelectorAll(".plot").forEach((n) => { if (visible(n)) draw(n); });

  document.querySelectorAll(".choices").forEach((box) => {
    const buttons = box.querySelectorAll(":scope > .buttons button");
    buttons.forEach((button) => button.addEventListener("click", () => {
      buttons.forEach((b) => {
        b.setAttribute("aria-pressed", String(b === button));
        document.getElementById(b.dataset.shows).hidden = b !== button;
      });
      document.getElementById(button.dataset.shows).querySelectorAll(".plot").forEach(draw);
    }));
  });

  document.querySelectorAll("table.sortable").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    heads.forEach((head, i) => head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending" && (head.classList.contains("number") || head.getAttribute("aria-sort") === "ascending");
      heads.forEach((h) => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => { const c = row.cells[i]; return c.dataset.sort === undefined ? (c.classList.contains("number") ? null : c.textContent) : Number(c.dataset.sort); };
      const rows = [...body.rows].sort((a, b) => {
        const x = value(a), y = value(b);
        if (x === null || y === null) return (x === null) - (y === null);
        return (down ? -1 : 1) * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true }));
      });
      body.append(...rows);
    }));
  });

  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.getAttribute("href").slice(1), a]));
  if (links.size && "IntersectionObserver" in window) {
    const watch = new IntersectionObserver((entries) => entries.forEach((e) => {
      if (e.isIntersecting) links.forEach((a, key) => a.classList.toggle("here", key === e.target.id));
    }), { rootMargin: "-10% 0px -80% 0px" });
    document.querySelectorAll("main > section").forEach((s) => watch.observe(s));
  }

  scheme.addEventListener("change", drawAll);
  window.addEventListener("beforeprint", () => { printing = true; document.querySelectorAll("details").forEach((d) => { d.open = true; }); drawAll(); });
  window.addEventListener("afterprint", () => { printing = false; drawAll(); });
  drawAll();
  document.documentElement.dataset.drawn = "yes";
})();
