"""The verb `ui`: a page in the browser. Only `page` and `tab_*` know Gradio."""
