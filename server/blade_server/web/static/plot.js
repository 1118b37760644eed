// Rate over time, as an SVG that grows with its box. Words for who cannot see it.

import { h, set, svg, text } from "./dom.js";
import { clock, duration, rate } from "./format.js";

const WIDTH = 600;
const HEIGHT = 140;
const GAP_MS = 10_000;

export function plot() {
  const area = svg("path.area");
  const line = svg("path.line");
  const grid = [0.25, 0.5, 0.75].map((share) => svg("line.grid", { x1: 0, x2: WIDTH, y1: HEIGHT * share, y2: HEIGHT * share }));
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, grid, area, line);
  const [top, from, to, note] = [h("span"), h("span"), h("span"), h("p.quiet")];
  const element = h("figure.plot", {}, h("div.plot-top", { "aria-hidden": "true" }, top), picture,
    h("div.plot-bottom", { "aria-hidden": "true" }, from, to), h("figcaption", {}, note));
  return {
    element,
    update(samples, job) {
      const average = averageRate(job);
      text(note, average ? `${rate(average)} on average over ${duration(runningSeconds(job))} of running` : "No item was processed yet.");
      set(picture, "hidden", samples.length < 2);
      if (samples.length < 2) return [top, from, to].forEach((label) => text(label, ""));
      const begin = samples[0].time;
      const span = Math.max(1000, samples.at(-1).time - begin);
      const peak = Math.max(...samples.map((sample) => sample.rate));
      const scale = niceAbove(peak);
      const x = (sample) => (((sample.time - begin) / span) * WIDTH).toFixed(1);
      const y = (sample) => (HEIGHT - (sample.rate / scale) * (HEIGHT - 4)).toFixed(1);
      const runs = unbroken(samples);
      set(line, "d", runs.map((run) => "M" + run.map((sample) => `${x(sample)} ${y(sample)}`).join("L")).join(""));
      set(area, "d", runs.map((run) => `M${x(run[0])} ${HEIGHT}L${run.map((sample) => `${x(sample)} ${y(sample)}`).join("L")}L${x(run.at(-1))} ${HEIGHT}Z`).join(""));
      text(top, rate(scale));
      text(from, clock(begin));
      text(to, clock(samples.at(-1).time));
      set(picture, "aria-label", `Rate from ${clock(begin)} to ${clock(samples.at(-1).time)}: now ${rate(samples.at(-1).rate)}, at most ${rate(peak)}`);
    },
  };
}

/** Where nothing was heard for a while (a page in the background), the line is broken instead of drawn across. */
function unbroken(samples) {
  const runs = [[]];
  for (const sample of samples) {
    const last = runs.at(-1).at(-1);
    if (last && sample.time - last.time > GAP_MS) runs.push([]);
    runs.at(-1).push(sample);
  }
  return runs;
}

function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value) ?? 10 * power;
}

export function runningSeconds(job) {
  if (!job.startTime) return 0;
  const end = job.endTime ?? (job.status === "PAUSED" ? job.updateTime : undefined);
  const total = ((end ? Date.parse(end) : Date.now()) - Date.parse(job.startTime)) / 1000;
  return Math.max(0, total - parseFloat(job.pausedDuration ?? "0"));
}

const averageRate = (job) => job.processedItems / Math.max(1, runningSeconds(job));
