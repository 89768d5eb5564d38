'use strict';
// Slices of a case in three planes. Volumes are RAS+, x fastest; pictures are radiological: the patient's right and front
// are on the viewer's left, front and head are up, so both axes of every picture run from their high end to their low end.
(() => {
  const section = document.getElementById('viewer');
  if (!section || !('DecompressionStream' in window)) return;
  const find = (name) => section.querySelector(`[data-${name}]`);
  const cases = JSON.parse(document.getElementById('viewer-cases').textContent);
  const fallback = document.getElementById('viewer-fallback');
  const options = { reference: true, prediction: true, crosshair: true, smooth: true };
  const position = [0, 0, 0];
  let shown = null;
  let channel = 0;
  let asked = 0;

  const planes = [
    { name: 'Axial', columns: 0, rows: 1, normal: 2, letters: ['R', 'L', 'A', 'P'] },
    { name: 'Coronal', columns: 0, rows: 2, normal: 1, letters: ['R', 'L', 'S', 'I'] },
    { name: 'Sagittal', columns: 1, rows: 2, normal: 0, letters: ['A', 'P', 'S', 'I'] },
  ].map((plane) => {
    const figure = find(`plane=${plane.name.toLowerCase()}`);
    const [canvas, slider, output] = ['canvas', 'input', 'output'].map((tag) => figure.querySelector(tag));
    return { ...plane, figure, canvas, slider, output, source: document.createElement('canvas') };
  });

  const millimetres = (axis) => shown.extents[axis] * shown.spacing[axis];
  const step = (axis) => shown.extents.slice(0, axis).reduce((product, extent) => product * extent, 1);
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  async function decoded(id, Type) {
    const packed = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
    return new Type(await new Response(stream).arrayBuffer());
  }

  /// One slice of a volume as the picture shows it, row by row.
  function slice(volume, { columns, rows, normal }) {
    const [width, height] = [shown.extents[columns], shown.extents[rows]];
    const [along, down] = [step(columns), step(rows)];
    const pixels = new volume.constructor(width * height);
    const first = position[normal] * step(normal) + (width - 1) * along + (height - 1) * down;
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++) pixels[at++] = volume[first - x * along - y * down];
    }
    return pixels;
  }

  /// The edges between voxels of a class or region, whose labels are wanted, and others; the picture's edge is none, the shape may go on beyond it.
  function outline(labels, width, height, wanted, sx, sy) {
    const path = new Path2D();
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const inside = wanted.has(labels[y * width + x]);
        if (x > 0 && inside !== wanted.has(labels[y * width + x - 1])) {
          path.moveTo(x * sx, y * sy);
          path.lineTo(x * sx, (y + 1) * sy);
        }
        if (y > 0 && inside !== wanted.has(labels[(y - 1) * width + x])) {
          path.moveTo(x * sx, y * sy);
          path.lineTo((x + 1) * sx, y * sy);
        }
      }
    }
    return path;
  }

  function drawImage(plane, context) {
    const [width, height] = [shown.extents[plane.columns], shown.extents[plane.rows]];
    const pixels = new ImageData(width, height);
    const opaque = new Uint32Array(pixels.data.buffer);
    slice(shown.images[channel], plane).forEach((grey, at) => { opaque[at] = 0xff000000 | (grey * 0x010101); });
    [plane.source.width, plane.source.height] = [width, height];
    plane.source.getContext('2d').putImageData(pixels, 0, 0);
    context.imageSmoothingEnabled = options.smooth;
    context.imageSmoothingQuality = 'high';
    context.drawImage(plane.source, 0, 0, plane.canvas.width, plane.canvas.height);
  }

  function drawOutlines(plane, context) {
    const [width, height] = [shown.extents[plane.columns], shown.extents[plane.rows]];
    const [sx, sy] = [plane.canvas.width / width, plane.canvas.height / height];
    for (const [kind, thickness] of [['reference', 3], ['prediction', 2]]) {
      if (!options[kind] || !shown[kind]) continue;
      const labels = slice(shown[kind], plane);
      const present = new Set(labels);
      shown.classes.forEach((entry) => {
        const wanted = new Set(entry.labels);
        if (!entry.labels.some((label) => present.has(label))) return;
        context.strokeStyle = entry[kind];
        context.lineWidth = thickness * devicePixelRatio;
        context.lineCap = 'round';
        context.stroke(outline(labels, width, height, wanted, sx, sy));
      });
    }
  }

  function drawCrosshair(plane, context) {
    const { width, height } = plane.canvas;
    const centre = (axis, size) => ((shown.extents[axis] - 0.5 - position[axis]) / shown.extents[axis]) * size;
    const [x, y] = [centre(plane.columns, width), centre(plane.rows, height)];
    const gap = 7 * devicePixelRatio;
    context.strokeStyle = 'rgba(255, 255, 255, 0.55)';
    context.lineWidth = devicePixelRatio;
    context.beginPath();
    for (const [fromX, fromY, toX, toY] of
      [[0, y, x - gap, y], [x + gap, y, width, y], [x, 0, x, y - gap], [x, y + gap, x, height]]) {
      context.moveTo(fromX, fromY);
      context.lineTo(toX, toY);
    }
    context.stroke();
  }

  function write(context, text, x, y, align) {
    context.textAlign = align;
    context.lineJoin = 'round';
    context.lineWidth = 3 * devicePixelRatio;
    context.strokeStyle = '#000';
    context.strokeText(text, x, y);
    context.fillStyle = '#e6e6e6';
    context.fillText(text, x, y);
  }

  /// The patient's directions at the edges, and a length bar.
  function annotate(plane, context) {
    const { width, height } = plane.canvas;
    const size = 13 * devicePixelRatio;
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.textBaseline = 'middle';
    const [left, right, top, bottom] = plane.letters;
    write(context, left, 0.4 * size, height / 2, 'left');
    write(context, right, width - 0.4 * size, height / 2, 'right');
    write(context, top, width / 2, 0.8 * size, 'center');
    write(context, bottom, width / 2, height - 0.7 * size, 'center');
    const scale = width / millimetres(plane.columns);
    const length = [100, 50, 20, 10, 5, 2, 1].find((mm) => mm * scale <= width / 3);
    if (!length) return;
    const [end, y] = [width - 0.6 * size, height - 0.5 * size];
    for (const [colour, thickness] of [['#000', 4], ['#e6e6e6', 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = thickness * devicePixelRatio;
      context.beginPath();
      context.moveTo(end - length * scale, y);
      context.lineTo(end, y);
      context.stroke();
    }
    write(context, `${length} mm`, end, y - 0.8 * size, 'right');
  }

  function draw(plane) {
    const context = plane.canvas.getContext('2d');
    drawImage(plane, context);
    drawOutlines(plane, context);
    if (options.crosshair) drawCrosshair(plane, context);
    annotate(plane, context);
    const axis = 'xyz'[plane.normal];
    const [at, last] = [position[plane.normal], shown.extents[plane.normal] - 1];
    plane.slider.max = last;
    plane.slider.value = at;
    plane.output.textContent = `${axis} ${at} of ${last}`;
    plane.canvas.setAttribute('aria-label', `${plane.name} slice ${at} of 0 to ${last}, case ${shown.case}`);
  }

  function readout() {
    const at = position.reduce((sum, index, axis) => sum + index * step(axis), 0);
    const name = (labels) => {
      if (labels[at] === 0) return 'background';
      if (labels[at] === shown.ignored) return 'ignored';
      const names = shown.classes.filter((entry) => entry.labels.includes(labels[at])).map((entry) => entry.name);
      return names.join(', ') || `class ${labels[at]}`;
    };
    const [low, high] = shown.channels[channel].window;
    const grey = low + (shown.images[channel][at] / 255) * (high - low);
    const parts = [`Voxel ${position.join(', ')}`, `intensity ${Number(grey.toPrecision(3))}`];
    if (shown.reference) parts.push(`reference: ${name(shown.reference)}`);
    parts.push(`prediction: ${name(shown.prediction)}`);
    find('readout').textContent = parts.join(' · ');
  }

  function drawAll() {
    if (!shown) return;
    planes.forEach(draw);
    readout();
  }

  /// One scale for all planes, the largest that fits; pictures have the volume's true proportions.
  function layout() {
    if (!shown) return;
    const tallest = Math.max(260, 0.75 * innerHeight);
    const fits = planes.map((p) =>
      Math.min(p.figure.clientWidth / millimetres(p.columns), tallest / millimetres(p.rows)));
    const scale = Math.min(...fits);
    for (const { canvas, columns, rows } of planes) {
      const [width, height] = [columns, rows].map((axis) => Math.max(1, Math.round(millimetres(axis) * scale)));
      [canvas.style.width, canvas.style.height] = [`${width}px`, `${height}px`];
      [canvas.width, canvas.height] = [width, height].map((pixels) => Math.round(pixels * devicePixelRatio));
    }
    drawAll();
  }

  function move(axis, index) {
    if (!shown) return false;
    const to = clamp(index, 0, shown.extents[axis] - 1);
    if (to === position[axis]) return false;
    position[axis] = to;
    drawAll();
    return true;
  }

  function legend() {
    const list = find('legend');
    list.replaceChildren();
    for (const entry of shown.classes) {
      const item = document.createElement('li');
      const text = document.createElement('strong');
      text.textContent = entry.dice === null ? entry.name : `${entry.name}, Dice ${entry.dice.toFixed(3)}`;
      item.append(text);
      for (const kind of ['reference', 'prediction']) {
        if (!shown[kind]) continue;
        const swatch = document.createElement('span');
        swatch.className = `swatch ${kind}`;
        swatch.style.background = entry[kind];
        item.append(swatch, kind);
      }
      list.append(item);
    }
  }

  /// The choice of the channel, where there are several. Another case keeps the number that was chosen.
  function chooseChannel() {
    const select = find('channels').querySelector('select');
    channel = Math.min(channel, shown.channels.length - 1);
    select.replaceChildren(...shown.channels.map(({ name }, number) => new Option(name, number, false, number === channel)));
    find('channels').hidden = shown.channels.length < 2;
  }

  /// Unpacks and shows a case, unless another one was asked for in the meantime.
  async function show(number) {
    asked += 1;
    const mine = asked;
    find('readout').textContent = 'Unpacking the case…';
    const entry = cases[number];
    const volume = (kind, Type) => decoded(`viewer-${number}-${kind}`, Type);
    const [prediction, reference, ...images] = await Promise.all([
      volume('prediction', Uint16Array), entry.hasReference ? volume('reference', Uint16Array) : null,
      ...entry.channels.map((_, number) => volume(`image-${number}`, Uint8Array)),
    ]);
    if (mine !== asked) return;
    shown = { ...entry, images, prediction, reference };
    chooseChannel();
    entry.centre.forEach((index, axis) => { position[axis] = index; });
    legend();
    find('note').textContent = entry.note;
    layout();
    section.dataset.ready = number;
  }

  /// Voxel below a pointer.
  function point(plane, event) {
    if (!shown) return;
    const box = plane.canvas.getBoundingClientRect();
    const voxel = (share, axis) => Math.floor((1 - clamp(share, 0, 0.999999)) * shown.extents[axis]);
    position[plane.columns] = clamp(voxel((event.clientX - box.left) / box.width, plane.columns), 0, shown.extents[plane.columns] - 1);
    position[plane.rows] = clamp(voxel((event.clientY - box.top) / box.height, plane.rows), 0, shown.extents[plane.rows] - 1);
    drawAll();
  }

  /// A mouse moves the crosshair; a finger scrolls through slices along the picture, and moves the crosshair by a tap.
  function followPointer(plane) {
    let start = null;
    plane.canvas.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      plane.canvas.setPointerCapture(event.pointerId);
      start = { x: event.clientX, slice: position[plane.normal], moved: false };
      if (event.pointerType === 'mouse') point(plane, event);
    });
    plane.canvas.addEventListener('pointermove', (event) => {
      if (!start) return;
      if (event.pointerType === 'mouse') return point(plane, event);
      const slices = Math.trunc((event.clientX - start.x) / 8);
      start.moved ||= slices !== 0;
      move(plane.normal, start.slice + slices);
    });
    plane.canvas.addEventListener('pointerup', (event) => {
      if (start && !start.moved && event.pointerType !== 'mouse') point(plane, event);
      start = null;
    });
    plane.canvas.addEventListener('pointercancel', () => { start = null; });
  }

  function followWheel(plane) {
    let turned = 0;
    plane.canvas.addEventListener('wheel', (event) => {
      if (event.ctrlKey || !shown) return;
      const notch = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 40 : 1;
      turned += event.deltaY / notch;
      const slices = Math.trunc(turned);
      turned -= slices;
      const to = position[plane.normal] - Math.sign(event.deltaY);
      // At the last slice the page scrolls on.
      if (to < 0 || to >= shown.extents[plane.normal]) return;
      event.preventDefault();
      if (slices) move(plane.normal, position[plane.normal] - clamp(slices, -3, 3));
    }, { passive: false });
  }

  function followKeys(plane) {
    const steps = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5, Home: -Infinity, End: Infinity };
    plane.canvas.addEventListener('keydown', (event) => {
      if (!(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      move(plane.normal, position[plane.normal] + steps[event.key]);
    });
  }

  for (const plane of planes) {
    followPointer(plane);
    followWheel(plane);
    followKeys(plane);
    plane.slider.addEventListener('input', () => move(plane.normal, plane.slider.valueAsNumber));
  }
  for (const box of section.querySelectorAll('[data-option]')) {
    const set = () => { options[box.dataset.option] = box.checked; drawAll(); };
    box.addEventListener('change', set);
    options[box.dataset.option] = box.checked;
  }
  find('channels').addEventListener('change', (event) => { channel = Number(event.target.value); drawAll(); });
  const fail = (error) => {
    section.hidden = true;
    fallback.hidden = false;
    console.error(error);
  };
  for (const choice of section.querySelectorAll('[name=viewer-case]')) {
    choice.addEventListener('change', () => show(choice.value).catch(fail));
  }
  section.hidden = false;
  fallback.hidden = true;
  show(section.querySelector('[name=viewer-case]:checked').value).catch(fail);
  new ResizeObserver(layout).observe(section);
})();
