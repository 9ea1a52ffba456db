// Draws each plot of the page from the numbers in its data-plot.
"use strict";

(() => {
  const COLOURS = ["--line-1", "--line-2", "--line-3", "--line-4", "--line-5", "--line-6"];
  const HEIGHT = 220;
  const DAY = 86400;
  const WHOLE = [1, 2, 3, 7, 14, 28, 91, 364].map((days) => days * DAY);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const axis = () => ({
    stroke: colour("--soft"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { stroke: colour("--line"), width: 1 },
  });

  const draw = (figure) => {
    const plot = JSON.parse(figure.dataset.plot);
    const [first, last] = [plot.times[0], plot.times.at(-1)];
    const frame = document.createElement("div");
    const label = (time) => {
      const [day, clock] = uPlot.fmtDate("{MM}-{DD}|{HH}:{mm}")(options.tzDate(time)).split("|");
      return plot.days || clock === "00:00" ? day : clock;
    };
    const wide = () => Math.max(240, figure.clientWidth);
    figure.insertBefore(frame, figure.querySelector("details"));
    const options = {
      width: wide(),
      height: HEIGHT,
      // Days are dates, which are no moments: they are drawn as they are, in no zone.
      tzDate: (time) => plot.days ? uPlot.tzDate(new Date(time * 1e3), "UTC") : new Date(time * 1e3),
      cursor: { drag: { x: false, y: false } },
      scales: {
        x: { range: () => (first < last ? [first, last] : [first - DAY, last + DAY]) },
        y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] },
      },
      axes: [
        { ...axis(), values: (_, splits) => splits.map(label), ...(plot.days && { incrs: WHOLE }) },
        { ...axis(), size: 56 },
      ],
      series: [
        { value: plot.days ? "{YYYY}-{MM}-{DD}" : "{YYYY}-{MM}-{DD} {HH}:{mm}" },
        ...plot.lines.map((line, index) => ({
          label: line.name,
          stroke: colour(COLOURS[index % COLOURS.length]),
          width: 2,
          points: { show: plot.times.length < 40, size: 5 },
        })),
      ],
    };
    const drawn = new uPlot(options, [plot.times, ...plot.lines.map((line) => line.values)], frame);
    new ResizeObserver(() => drawn.setSize({ width: wide(), height: HEIGHT })).observe(figure);
    return () => { drawn.destroy(); frame.remove(); };
  };

  const figures = [...document.querySelectorAll("[data-plot]")];
  let undo = figures.map(draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    undo.forEach((each) => each());
    undo = figures.map(draw);
  });
})();
