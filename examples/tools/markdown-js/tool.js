// The functions of `wit/markdown.wit`, on the npm package `markdown-it`. componentize-js turns `toHtml` into `to-html`.
import MarkdownIt from "markdown-it";

const md = new MarkdownIt({ html: false, linkify: true });

export const markdown = {
  toHtml: (source) => md.render(source),
  headings: (source) =>
    md.parse(source, {}).flatMap(({ type, tag }, index, tokens) =>
      type === "heading_open" ? [{ level: Number(tag.slice(1)), text: tokens[index + 1].content }] : []),
};
