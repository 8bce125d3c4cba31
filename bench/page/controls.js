// Number the visible controls of the page, in the order of the document; returns how many.
() => [...document.querySelectorAll('button, input, textarea, select, a[href], [tabindex]')]
  .filter(e => e.tabIndex >= 0 && !e.disabled && e.getBoundingClientRect().width > 0
    && e.checkVisibility({visibilityProperty: true}))
  .map((e, i) => { e.dataset.number = i; }).length
