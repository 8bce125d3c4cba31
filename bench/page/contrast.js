// Texts of the page whose contrast with what is behind them is below 4.5 (WCAG 2.1, level AA).
() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = text => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
  const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3]));
  const light = c => { const [r, g, b] = c.map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * r + .7152 * g + .0722 * b; };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    if (element.closest('[disabled], .disabled, script, style')) continue;
    const box = element.getBoundingClientRect();
    if (box.width < 2 || box.height < 2) continue;
    let chain = [], node = element, opacity = 1, picture = false;
    for (; node; node = node.parentElement) {
      const style = getComputedStyle(node);
      chain.push(rgba(style.backgroundColor)); opacity *= +style.opacity;
      if (style.backgroundImage != 'none') picture = true;
    }
    if (picture) continue;
    let below = [255, 255, 255];
    for (const layer of chain.reverse()) below = over(layer, below);
    const ink = rgba(getComputedStyle(element).color); ink[3] *= opacity;
    const a = light(over(ink, below)), b = light(below);
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) found.push([+ratio.toFixed(2), text.slice(0, 40), element.tagName + '.' + element.className]);
  }
  return found;
}
