"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const clock = (zone) => new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium", timeZone: zone });
  const here = clock(undefined), utc = clock("UTC");
  const times = Array.from({ length: figures.count }, (_, n) => figures.first + n * figures.step);
  const colour = (n, strong = 45) => `hsl(${(210 + n * 137.5) % 360} 70% ${strong}%)`;
  const shown = (value) => (value == null ? "—" : value.toLocaleString(undefined, { maximumFractionDigits: 2 }));

  // Of the time axis, as short as the distance between two labels allows.
  const labels = (_, ats, __, ___, seconds) => ats.map((at) => {
    const [day, time] = here.format(at * 1000).split(" ");
    return seconds >= 86400 || (seconds >= 60 && time === "00:00:00") ? day : seconds >= 60 ? time.slice(0, 5) : time;
  });

  // The page has UTC in it; the viewer's own time goes before it.
  document.getElementById("zone").textContent = here.resolvedOptions().timeZone + ", UTC stands beside";
  for (const element of document.querySelectorAll("time")) {
    const small = document.createElement("small");
    small.textContent = ` ${element.textContent}`;
    element.replaceChildren(here.format(new Date(element.dateTime)), small);
  }

  // A column of a chart from points [n, …]. What is undefined is drawn across, what is null is not.
  const column = (points, of, gaps = []) => {
    const values = new Array(figures.count);
    for (const [first, last] of gaps) values.fill(null, first, last + 1);
    for (const point of points) values[point[0]] = of(point);
    return values;
  };

  // The more of a chart's devices are away, the darker.
  const shade = (plot, gaps, devices) => {
    const { ctx, bbox } = plot;
    const away = new Array(figures.count).fill(0);
    for (const [first, last] of gaps) for (let n = first; n <= last; n++) away[n]++;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (let n = 0, end; n < figures.count; n = end) {
      for (end = n + 1; away[end] === away[n]; ) end++;
      if (!away[n]) continue;
      ctx.fillStyle = `rgb(90 100 115 / ${10 + (25 * away[n]) / devices}%)`;
      const from = plot.valToPos(times[n], "x", true);
      ctx.fillRect(from, bbox.top, plot.valToPos(times[n] + (end - n) * figures.step, "x", true) - from, bbox.height);
    }
    ctx.restore();
  };

  // An anomaly of a value is a ring around it; one of a silence is a line at its time.
  const mark = (plot, marks) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = "#c62828";
    ctx.lineWidth = 2 * devicePixelRatio;
    for (const { at, value } of marks) {
      const x = plot.valToPos(at, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      if (value === null) {
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
      } else {
        const y = plot.valToPos(value, "y", true);
        const inside = Math.min(Math.max(y, bbox.top), bbox.top + bbox.height);
        ctx.arc(x, inside, 6 * devicePixelRatio, 0, 2 * Math.PI);
      }
      ctx.stroke();
    }
    ctx.restore();
  };

  const draw = (place, title, lines, { gaps = [], devices = 1, marks = [], log = false } = {}) => {
    const options = {
      title,
      width: place.clientWidth,
      height: 260,
      cursor: { drag: { x: true, y: false }, focus: { prox: 20 } },
      scales: { x: { range: (_, least, most) => [least, most] }, y: log ? { distr: 3 } : {} },
      axes: [{ values: labels, space: 70, size: 32 }, { size: log ? 72 : 55 }],
      series: [
        { label: "time", value: (_, at) => (at == null ? "—" : `${here.format(at * 1000)} (${utc.format(at * 1000)} UTC)`) },
        ...lines.map(({ label, stroke, width = 1 }) => ({ label, stroke, width, value: (_, v) => shown(v) })),
      ],
      hooks: { drawAxes: [(plot) => shade(plot, gaps, devices)], draw: [(plot) => mark(plot, marks)] },
    };
    const plot = new uPlot(options, [times, ...lines.map((line) => line.values)], place);
    addEventListener("resize", () => place.clientWidth && plot.setSize({ width: place.clientWidth, height: 260 }));
    place.dataset.drawn = lines.filter((line) => line.values.some((value) => value != null)).length;
  };

  const QUANTITIES = { temperature: ["°C", 1], humidity: ["% RH", 2] };
  const room = (place) => {
    const { title, devices, mean, marks } = figures.rooms[place.dataset.room];
    const [unit, index] = QUANTITIES[place.dataset.quantity];
    const lines = devices.map(({ name, points, gaps }, n) => ({
      label: name, stroke: colour(n), values: column(points, (point) => point[index], gaps),
    }));
    if (mean.length) lines.push({ label: "mean", stroke: "#1d2430", width: 2.5, values: column(mean, (point) => point[index]) });
    draw(place, `${title}, ${unit}`, lines, {
      gaps: devices.flatMap((device) => device.gaps),
      devices: devices.length,
      marks: marks.filter(({ quantity }) => quantity === place.dataset.quantity || quantity === "all"),
    });
  };

  const stage = (place) => {
    const { title, points, gaps } = figures.latencies[place.dataset.stage];
    const lines = ["p50", "p95", "p99"].map((label, n) => ({
      label, stroke: colour(n), width: 1.5, values: column(points, (point) => Math.max(point[n + 1], 0.1), gaps),
    }));
    draw(place, `${title}, ms`, lines, { log: true });
  };

  const flow = (place) => {
    const of = (query, figure) => column(
      figures.flow.filter((batch) => batch.query === query).map((batch) => [batch.n, figure(batch)]), (point) => point[1],
    );
    const rate = (name) => (batch) => batch[name] / figures.step;
    const [title, lines] = place.dataset.flow === "rate"
      ? ["Readings per second", [["read from Kafka", of("store", rate("rows_in"))],
        ["stored in TimescaleDB", of("store", rate("rows_stored"))], ["written to the archive", of("archive", rate("rows_stored"))]]]
      : ["Records that wait", [["in Kafka for the database", of("store", (b) => b.lag)],
        ["in Kafka for the archive", of("archive", (b) => b.lag)], ["in the gateways' spools", of("store", (b) => b.spool)]]];
    draw(place, title, lines.map(([label, values], n) => ({ label, stroke: colour(n), width: 1.5, values })));
  };

  const start = (place) => {
    if (place.dataset.drawn !== undefined || !place.clientWidth) return;
    const { room: ofRoom, stage: ofStage } = place.dataset;
    (ofRoom !== undefined ? room : ofStage !== undefined ? stage : flow)(place);
  };
  const all = () => document.querySelectorAll(".chart").forEach(start);
  // The charts of a room that is folded up are drawn when it is opened.
  document.addEventListener("toggle", all, true);
  all();
})();
